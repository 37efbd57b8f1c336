// From the schema of a service to a description of its form.  Pure: no page, no network.
//
// A field is {kind, name, label, about, path, isRequired, isNullable, initial, ...}.  Kinds:
//   text, number, flag, choice, file, group (fields), list (item), pair (fields), json
// Anything else that a schema can say becomes a field of the kind json.

const DATA_URL = "^[dD][aA][tT][aA]:";
const MOST_FIELDS = 80, DEEPEST = 4;
// From this many characters on, and for these names, a text has several lines.
const LONG_TEXT = 120;
const LONG_NAMES = /prompt|text|message|question|description|content|story|document|instruction/i;

const WORDS = { string: "Text", integer: "Number", number: "Number", array: "List" };

// Return a field for what a service declares: its `input` in /schema; null without a schema.
export function formOf(input) {
  const schema = input?.schema;
  if (!schema || typeof schema !== "object") return null;
  const reader = { root: schema, count: 0 };
  return fieldOf(reader, schema, { name: "", path: "", depth: 0, isRequired: true });
}

// Return what a payload without a schema may be: "json", "text" or "bytes".
export function rawKind(input) {
  const [first] = input?.content_types ?? ["text/plain"];
  if (first === "text/plain") return "text";
  return first && first !== "application/json" ? "bytes" : "json";
}

function fieldOf(reader, given, place) {
  reader.count += 1;
  const { schema, isNullable } = resolved(reader.root, given);
  const field = {
    ...place,
    label: place.name || schema.title || WORDS[schema.type] || "Value",
    about: typeof schema.description === "string" ? schema.description : "",
    isNullable,
    // None is the empty control.
    initial: schema.default ?? undefined,
    schema,
  };
  const kind = reader.count > MOST_FIELDS ? null : kindOf(reader, schema, field);
  return { ...field, kind: "json", ...kind };
}

// Follow references, and take null out of the alternatives.
function resolved(root, given) {
  let schema = given && typeof given === "object" ? given : {};
  let isNullable = false;
  for (let step = 0; step < 12; step += 1) {
    const { $ref, anyOf, oneOf, allOf, ...rest } = schema;
    const parts = anyOf ?? oneOf;
    if (typeof $ref === "string") {
      schema = { ...target(root, $ref), ...rest };
    } else if (Array.isArray(parts)) {
      const others = parts.filter((one) => one?.type !== "null");
      isNullable ||= others.length < parts.length;
      if (others.length !== 1) return { schema: { ...rest, anyOf: others }, isNullable };
      schema = { ...others[0], ...rest };
    } else if (Array.isArray(allOf) && allOf.length === 1) {
      schema = { ...allOf[0], ...rest };
    } else if (Array.isArray(schema.type)) {
      const types = schema.type.filter((one) => one !== "null");
      isNullable ||= types.length < schema.type.length;
      if (schema.pattern === DATA_URL) return { schema: { ...schema, type: "string" }, isNullable };
      if (types.length !== 1) return { schema: { ...rest, type: types }, isNullable };
      schema = { ...schema, type: types[0] };
    } else {
      break;
    }
  }
  return { schema, isNullable };
}

function target(root, reference) {
  if (!reference.startsWith("#/$defs/")) return {};
  const name = reference.slice("#/$defs/".length).replaceAll("~1", "/").replaceAll("~0", "~");
  const found = root.$defs?.[name];
  return found && typeof found === "object" ? found : {};
}

function kindOf(reader, schema, field) {
  if ("const" in schema) return { kind: "choice", options: [schema.const] };
  if (Array.isArray(schema.enum)) {
    const options = schema.enum.filter((one) => one !== null);
    const isSimple = options.every((one) => typeof one !== "object") && options.length <= 200;
    return isSimple ? { kind: "choice", options, isNullable: field.isNullable || options.length < schema.enum.length } : null;
  }
  const literals = literalsOf(schema.anyOf);
  if (literals) return { kind: "choice", options: literals };
  switch (schema.type) {
    case "string": return textOrFile(schema, field);
    case "integer": case "number": return numberOf(schema);
    case "boolean": return { kind: "flag" };
    case "object": return groupOf(reader, schema, field);
    case "array": return listOf(reader, schema, field);
    default: return null;
  }
}

// Alternatives that are a single value each, as some libraries write an enum.
function literalsOf(parts) {
  if (!Array.isArray(parts) || !parts.length) return null;
  return parts.every((one) => one && "const" in one) ? parts.map((one) => one.const) : null;
}

function textOrFile(schema, field) {
  if (schema.pattern === DATA_URL || schema.format === "binary" || schema.contentEncoding === "base64") {
    return { kind: "file", accept: schema.contentMediaType ?? "" };
  }
  const most = schema.maxLength;
  const isLong = most > LONG_TEXT || (most === undefined && LONG_NAMES.test(field.name || "text"));
  return { kind: "text", isLong, most, format: schema.format ?? "", examples: examplesOf(schema) };
}

function examplesOf(schema) {
  return (Array.isArray(schema.examples) ? schema.examples : []).filter((one) => typeof one === "string").slice(0, 3);
}

function numberOf(schema) {
  const isWhole = schema.type === "integer";
  const least = schema.minimum ?? (isWhole && schema.exclusiveMinimum !== undefined ? schema.exclusiveMinimum + 1 : schema.exclusiveMinimum);
  const most = schema.maximum ?? (isWhole && schema.exclusiveMaximum !== undefined ? schema.exclusiveMaximum - 1 : schema.exclusiveMaximum);
  const hasBounds = Number.isFinite(least) && Number.isFinite(most) && most > least && most - least <= 1e6;
  const step = schema.multipleOf ?? (isWhole ? 1 : hasBounds ? niceStep(most - least) : undefined);
  return { kind: "number", isWhole, least, most, hasBounds, step };
}

// About a hundred steps, each a power of ten.
function niceStep(range) {
  return 10 ** Math.floor(Math.log10(range / 50));
}

function groupOf(reader, schema, field) {
  const properties = schema.properties;
  if (!properties || typeof properties !== "object" || field.depth >= DEEPEST) return null;
  const names = Object.keys(properties);
  if (!names.length || reader.count + names.length > MOST_FIELDS) return null;
  const required = new Set(schema.required ?? []);
  const fields = names.map((name) => fieldOf(reader, properties[name], {
    name, path: `${field.path}/${escaped(name)}`, depth: field.depth + 1, isRequired: required.has(name),
  }));
  return { kind: "group", fields };
}

function listOf(reader, schema, field) {
  if (field.depth >= DEEPEST) return null;
  if (Array.isArray(schema.prefixItems)) {
    const fields = schema.prefixItems.map((one, at) => fieldOf(reader, one, {
      name: String(at + 1), path: `${field.path}/${at}`, depth: field.depth + 1, isRequired: true,
    }));
    return fields.length && fields.length <= 12 ? { kind: "pair", fields } : null;
  }
  if (!schema.items || typeof schema.items !== "object") return null;
  const item = fieldOf(reader, schema.items, { name: "", path: "", depth: field.depth + 1, isRequired: true });
  return item.kind === "json" ? null : { kind: "list", item, least: schema.minItems ?? 0, most: schema.maxItems ?? Infinity };
}

export function escaped(name) {
  return String(name).replaceAll("~", "~0").replaceAll("/", "~1");
}

// In words, what a field takes: for the line below it.
export function boundsOf(field) {
  if (field.kind === "number") {
    const { least, most } = field;
    if (least !== undefined && most !== undefined) return `${least} to ${most}`;
    if (least !== undefined) return `${least} or more`;
    if (most !== undefined) return `${most} or less`;
  }
  if (field.kind === "text" && field.most !== undefined) return `up to ${field.most} characters`;
  if (field.kind === "list" && Number.isFinite(field.most)) return `up to ${field.most}`;
  return "";
}
