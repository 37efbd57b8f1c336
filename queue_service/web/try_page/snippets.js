// The request of the form as curl and Python.  Pure.

import { filesIn } from "./files.js";

const TOKEN = "PENSTOCK_TOKEN";
const JSON_TYPE = "application/json";
const SUFFIXES = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "audio/wav": "wav", "video/mp4": "mp4" };

// request: {address, service, value, type, outputType, keepsFiles}.
export function curlOf(request) {
  const { value, type } = request;
  if (value instanceof File) return command(request, [`-H ${quoted(`Content-Type: ${type}`)}`, `--data-binary ${quoted(`@${value.name}`)}`]);
  if (type !== JSON_TYPE) return command(request, [`-H ${quoted(`Content-Type: ${type}`)}`, `--data-raw ${quoted(String(value))}`]);
  if (!filesIn(value).length) {
    return command(request, [`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(value))}`]);
  }
  return isForm(value) ? command(request, formFields(value)) : withUploads(request);
}

function command({ address, service, outputType }, parts) {
  const suffix = SUFFIXES[outputType];
  const output = suffix ? [`-o result.${suffix}`] : [];
  const url = `${address}/v1/services/${encodeURIComponent(service)}/jobs?wait=60s`;
  return [`curl -H "Authorization: Bearer $${TOKEN}"`, ...parts, ...output, quoted(url)].join(" \\\n  ");
}

// Whether every file is a field, or in a list that is one: then a form can have them.
function isForm(value) {
  if (Array.isArray(value) || !value || typeof value !== "object") return false;
  return Object.values(value).every((one) => one instanceof File || !filesIn(one).length
    || (Array.isArray(one) && one.every((item) => item instanceof File)));
}

function formFields(value) {
  return Object.entries(value).flatMap(([name, one]) => {
    if (one === null) return [];
    const items = Array.isArray(one) && one.length && one.every((item) => item instanceof File || typeof item !== "object") ? one : [one];
    return items.map((item) => {
      if (item instanceof File) return `-F ${quoted(`${name}=@${item.name}`)}`;
      const text = typeof item === "object" ? JSON.stringify(item) : String(item);
      // In -F these begin files and types.
      return `${/^[@<"]|;/.test(text) ? "--form-string" : "-F"} ${quoted(`${name}=${text}`)}`;
    });
  });
}

// Files inside of other values are uploaded first.
function withUploads(request) {
  const files = filesIn(request.value);
  const names = new Map(files.map((file, at) => [file, `FILE_${at + 1}`]));
  const lines = files.map((file) => {
    const query = `filename=${encodeURIComponent(file.name)}&purpose=user_data`;
    const upload = [
      `curl -s -H "Authorization: Bearer $${TOKEN}"`, `-H ${quoted(`Content-Type: ${file.type || "application/octet-stream"}`)}`,
      `--data-binary ${quoted(`@${file.name}`)}`, quoted(`${request.address}/v1/files?${query}`),
    ].join(" ");
    return `${names.get(file)}=$(${upload} | jq -r .id)`;
  });
  const body = JSON.stringify(replaced(request.value, (file) => ({ $file: `\u0001${names.get(file)}\u0001` })))
    .replace(/[\\$`]/g, "\\$&").replace(/\\\\u0001(FILE_\d+)\\\\u0001/g, "$$$1").replaceAll('"\\$file"', '"\\$file"');
  return `${lines.join("\n")}\n${command(request, ["-H 'Content-Type: application/json'", "-d @-"])} <<END\n${body}\nEND`;
}

function replaced(value, replace) {
  if (value instanceof File) return replace(value);
  if (Array.isArray(value)) return value.map((one) => replaced(one, replace));
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, replaced(one, replace)]));
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

export function pythonOf({ address, service, value, type, keepsFiles }) {
  const files = filesIn(value);
  const names = new Map(files.map((file, at) => [file, files.length > 1 ? `file_${at + 1}` : "file"]));
  const isBody = value instanceof File;
  const uploads = files.length > 0 && !isBody && keepsFiles;
  const encodes = files.length > 0 && !isBody && !keepsFiles;
  const imports = [
    ...(encodes ? ["import base64"] : []), ...(type === JSON_TYPE && !isBody ? ["import json"] : []), "import os",
    ...(isBody || encodes ? ["from pathlib import Path"] : []),
  ];
  const lines = [...imports, "", "from penstock import Client", ""];
  if (encodes) {
    lines.push("", "def data_url(path, kind):", '    data = base64.b64encode(Path(path).read_bytes()).decode()',
      '    return f"data:{kind};base64,{data}"', "", "");
  }
  lines.push(`with Client(${literal(address)}, ${literal(service)}, token=os.environ["${TOKEN}"]) as client:`);
  if (uploads) for (const file of files) lines.push(`    ${names.get(file)} = client.files.upload(${literal(file.name)})`);
  const write = (file) => (uploads ? new Code(`{"$file": ${names.get(file)}.id}`)
    : new Code(`data_url(${literal(file.name)}, ${literal(file.type || "application/octet-stream")})`));
  const data = isBody ? `Path(${literal(value.name)})` : type === JSON_TYPE
    ? `json.dumps(${literal(replaced(value, write), 1)})` : literal(String(value));
  lines.push(`    job = client.jobs.submit(`, `        ${indented(data, 1)},`, `        content_type=${literal(type)},`, "    )");
  lines.push("    result = client.jobs.result(job.id)");
  return lines.join("\n");
}

class Code {
  constructor(text) {
    this.text = text;
  }
}

function indented(text, by) {
  return text.replaceAll("\n", `\n${"    ".repeat(by)}`);
}

const WIDE = 72;

// A value as Python writes it.
function literal(value, depth = 0) {
  if (value instanceof Code) return value.text;
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "number") return String(value);
  // JSON's escapes are Python's too.
  if (typeof value === "string") return JSON.stringify(value);
  const items = Array.isArray(value) ? value.map((one) => literal(one, depth + 1))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one, depth + 1)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const short = `${open}${items.join(", ")}${close}`;
  if (short.length < WIDE && !short.includes("\n")) return short;
  const pad = "    ".repeat(depth + 1);
  return `${open}\n${items.map((one) => `${pad}${one},`).join("\n")}\n${"    ".repeat(depth)}${close}`;
}
