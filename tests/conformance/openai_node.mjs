// The official Node client against a running server: node openai_node.mjs BASE_URL MODEL
import assert from "node:assert/strict";
import OpenAI from "openai";

const [baseURL, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "What is the capital of France?" }];
const options = { model, messages, temperature: 0, max_tokens: 16 };

const whole = await client.chat.completions.create(options);
const text = whole.choices[0].message.content;
assert.match(text, /Paris/);

let streamed = "";
const stream = await client.chat.completions.create({ ...options, stream: true, stream_options: { include_usage: true } });
let usage = null;
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(streamed, text);
assert.deepEqual(usage, whole.usage);

const helper = await client.chat.completions.stream(options).finalContent();
assert.equal(helper, text);

const completion = await client.completions.create({ model, prompt: "The capital of France is", max_tokens: 4, temperature: 0 });
assert.match(completion.choices[0].text, /Paris/);

const response = await client.responses.create({ model, input: messages, temperature: 0, max_output_tokens: 16 });
assert.equal(response.output_text, text);
let deltas = "";
for await (const event of await client.responses.create({ model, input: messages, temperature: 0, max_output_tokens: 16, stream: true })) {
  if (event.type === "response.output_text.delta") deltas += event.delta;
}
assert.equal(deltas, text);

const vectors = await client.embeddings.create({ model, input: ["one", "two"] });
assert.equal(vectors.data.length, 2);
const length = Math.hypot(...vectors.data[0].embedding);
assert.ok(Math.abs(length - 1) < 1e-5, `length ${length}`);

assert.deepEqual((await client.models.list()).data.map((m) => m.id), [model]);
await assert.rejects(client.chat.completions.create({ ...options, model: "other" }), OpenAI.NotFoundError);
await assert.rejects(client.chat.completions.create({ ...options, temperature: 9 }),
  (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");

const file = await client.files.create({ purpose: "batch", file: await OpenAI.toFile(Buffer.from(JSON.stringify({
  custom_id: "a", method: "POST", url: "/v1/chat/completions", body: options }) + "\n"), "in.jsonl") });
let batch = await client.batches.create({ input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
while (!["completed", "failed"].includes(batch.status)) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  batch = await client.batches.retrieve(batch.id);
}
const output = JSON.parse(await (await client.files.content(batch.output_file_id)).text());
assert.equal(output.response.body.choices[0].message.content, text);
console.log("ok");
