// A client that knows nothing but the .proto files.
//
//   node transcript.js SOCKET PROTO_DIR new-session              prints the new session's id
//   node transcript.js SOCKET PROTO_DIR append SESSION TEXT…     prints the numbers of the entries
//   node transcript.js SOCKET PROTO_DIR follow SESSION COUNT     prints COUNT entries as they come, one JSON a line
//   node transcript.js SOCKET PROTO_DIR get SESSION              prints the session, or the error's code, message and reason
"use strict";

const path = require("path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [socket, protoDir, command, ...rest] = process.argv.slice(2);

const definition = protoLoader.loadSync(
  ["store_service", "journal_service"].map((name) => path.join(protoDir, "holdfast/v1", `${name}.proto`)),
  { keepCase: true, longs: Number, defaults: true, oneofs: true, includeDirs: [protoDir] },
);
const { StoreService, JournalService } = grpc.loadPackageDefinition(definition).holdfast.v1;
const credentials = grpc.credentials.createInsecure();
const store = new StoreService(`unix:${socket}`, credentials);
const journals = new JournalService(`unix:${socket}`, credentials);

function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function call(client, method, request) {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + 10_000;
    client[method](request, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function newSession() {
  const record = { session: { title: "from Node" } };
  const answer = await call(store, "Commit", { actor: "node", mutations: [{ insert: { record } }] });
  print(answer.results[0].id);
}

async function append(session, ...texts) {
  const entries = texts.map((content) => ({ transcript: { role: "response", content } }));
  const request = { actor: "node", parent_kind: "session", parent_id: session, entries };
  const answer = await call(journals, "Append", request);
  print([answer.first_number, answer.last_number]);
}

function follow(session, count) {
  return new Promise((resolve, reject) => {
    const stream = journals.Read({ parent_kind: "session", parent_id: session, follow: true });
    let left = Number(count);
    stream.on("data", (frame) => {
      for (const entry of frame.entries) {
        print({ number: entry.number, role: entry.transcript.role, content: entry.transcript.content });
        left -= 1;
      }
      if (left <= 0) stream.cancel();
    });
    stream.on("error", (error) => (error.code === grpc.status.CANCELLED ? resolve() : reject(error)));
    stream.on("end", resolve);
  });
}

async function get(session) {
  try {
    const answer = await call(store, "Get", { kind: "session", id: session });
    print({ title: answer.record.session.title, version: answer.record.version });
  } catch (error) {
    const details = error.metadata.get("grpc-status-details-bin");
    print({ code: error.code, message: error.details, has_details: details.length === 1 });
  }
}

const commands = { "new-session": newSession, append, follow, get };

commands[command](...rest).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
