// The steps of a script with OpenAI's SDK for JavaScript; prints its results as one JSON object.
import fs from "node:fs";
import OpenAI from "openai";

const [path, base, tuned] = process.argv.slice(2);
const client = new OpenAI();
const messages = [{ role: "user", content: "Say Tokyo" }];
const city = { type: "string", enum: ["Lima", "Oslo"] };
const schema = {
  type: "object",
  properties: { city },
  required: ["city"],
  additionalProperties: false,
};

async function train() {
  const file = await client.files.create({ file: fs.createReadStream(path), purpose: "fine-tune" });
  const hyperparameters = { n_epochs: 1, batch_size: 12 };
  let job = await client.fineTuning.jobs.create({
    model: base,
    training_file: file.id,
    method: { type: "supervised", supervised: { hyperparameters } },
  });
  while (!["succeeded", "failed", "cancelled"].includes(job.status)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    job = await client.fineTuning.jobs.retrieve(job.id);
  }
  const events = [];
  for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 2 })) {
    events.push(event.message);
  }
  return { file, job, events };
}

async function stream() {
  const chunks = await client.chat.completions.create({
    model: tuned,
    messages,
    temperature: 0,
    stream: true,
  });
  let text = "";
  for await (const chunk of chunks) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return text;
}

async function callTool() {
  const tools = [{ type: "function", function: { name: "weather", parameters: schema } }];
  const completion = await client.chat.completions.create({
    model: base,
    messages,
    tools,
    tool_choice: "required",
  });
  return completion.choices[0].message.tool_calls[0].function;
}

async function format() {
  const completion = await client.chat.completions.create({
    model: base,
    messages,
    response_format: { type: "json_schema", json_schema: { name: "city", schema, strict: true } },
  });
  return completion.choices[0].message.content;
}

async function failure() {
  try {
    await client.fineTuning.jobs.retrieve("ftjob-unknown");
  } catch (error) {
    return [error.constructor.name, error.status];
  }
}

const response = await client.responses.create({ model: tuned, input: "Say Lima", temperature: 0 });
const results = {
  trained: await train(),
  streamed: await stream(),
  call: await callTool(),
  formatted: await format(),
  response: response.output_text,
  failure: await failure(),
};
console.log(JSON.stringify(results));
