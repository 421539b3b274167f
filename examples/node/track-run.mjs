// Tracks a run from Node.js: parameters, a metric's history, a tag and an artifact; reads them back, and finishes the run.
//   node examples/node/track-run.mjs
// MLFLOW_TRACKING_URI is the server's address (default: http://localhost:5000); behind a login, MLFLOW_TRACKING_TOKEN is the token, or
// MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD are the user. First: npm ci --prefix examples/node
import MLflow from "mlflow";
import { RunStatus } from "mlflow/lib/enum.js";

const server = (process.env.MLFLOW_TRACKING_URI ?? "http://localhost:5000").replace(/\/$/, "");
const client = new MLflow({ endpoint: server, headers: login() });

// The client prints the body of each request; this program prints its results only.
const print = console.log;
console.log = () => {};

// The user or the token, where the server asks for one.
function login() {
  const { MLFLOW_TRACKING_TOKEN: token, MLFLOW_TRACKING_USERNAME: user, MLFLOW_TRACKING_PASSWORD: password } = process.env;
  if (token) return { Authorization: `Bearer ${token}` };
  return user ? { Authorization: `Basic ${Buffer.from(`${user}:${password ?? ""}`).toString("base64")}` } : {};
}

// One request beside the package, which finds no experiment by its name and has no call for artifacts' content.
async function request(address, { headers, ...options } = {}) {
  const answer = await fetch(address, { ...options, headers: { ...login(), ...headers } });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${address}: ${answer.status} ${text}`);
  return text;
}

async function findOrCreateExperiment(name) {
  const body = JSON.stringify({ filter: `name = '${name}'`, max_results: 1 });
  const headers = { "Content-Type": "application/json" };
  const found = await request(`${server}/api/2.0/mlflow/experiments/search`, { method: "POST", headers, body });
  return JSON.parse(found).experiments?.[0]?.experiment_id ?? (await client.Experiments.create({ name })).experiment_id;
}

// Where the run keeps its artifacts, after mlflow-artifacts:/, is the path at which the server passes them through.
function artifactAddress(run, path) {
  return `${server}/api/2.0/mlflow-artifacts/artifacts/${run.info.artifact_uri.replace(/^mlflow-artifacts:\//, "")}/${path}`;
}

async function track(run) {
  const run_id = run.info.run_id;
  const losses = [0.61, 0.47, 0.42];
  await client.Runs.logBatch({
    run_id,
    params: [{ key: "learning_rate", value: "0.1" }, { key: "num_leaves", value: "60" }],
    metrics: losses.map((value, index) => ({ key: "loss", value, step: index + 1, timestamp: Date.now() })),
  });
  await client.Runs.setTag({ run_id, key: "client", value: `node ${process.version}` });
  const address = artifactAddress(run, "notes/summary.txt");
  await request(address, { method: "PUT", body: `Tracked with Node.js: the loss fell to ${losses.at(-1)}.\n` });

  const { data } = (await client.Runs.get({ run_id })).run;
  const { metrics } = await client.Metrics.getHistory({ run_id, metric_key: "loss" });
  const { files } = await client.Artifacts.list({ run_id, path: "notes" });
  return {
    run_id,
    params: Object.fromEntries(data.params.map(({ key, value }) => [key, value])),
    client: data.tags.find(({ key }) => key === "client").value,
    loss: metrics.map(({ step, value }) => [Number(step), value]),
    artifacts: files.map(({ path }) => path),
    text: await request(address),
  };
}

// What the client throws holds the server's answer as JSON.
function reason(error) {
  if (error.message.endsWith("fetch failed")) return `no answer from ${server}: is it running?`;
  const message = error.message.replace(/^(\w*Error: )+/, "");
  try {
    return JSON.parse(message).data.message;
  } catch {
    return message;
  }
}

try {
  const experiment_id = await findOrCreateExperiment("node_client");
  const { run } = await client.Runs.create({ experiment_id, start_time: Date.now() });
  let status = RunStatus.FAILED;
  try {
    print(JSON.stringify(await track(run), null, 2));
    status = RunStatus.FINISHED;
  } finally {
    await client.Runs.update({ run_id: run.info.run_id, status, end_time: Date.now() });
  }
} catch (error) {
  console.error(`track-run: error: ${reason(error)}`);
  process.exitCode = 1;
}
