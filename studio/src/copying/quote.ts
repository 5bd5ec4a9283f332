// Texts of callers as literals of the shell and of Python: whatever they hold, they are data there.

/** One word of a POSIX shell. */
export function shell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** A JSON value as a Python literal. A JSON string is a Python string, too. */
export function python(value: Json, indent = ""): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}    `;
  const list = Array.isArray(value);
  const parts = list ? value.map((it) => python(it, inner)) : Object.entries(value).map(([key, it]) => `${JSON.stringify(key)}: ${python(it, inner)}`);
  const [open, close] = list ? "[]" : "{}";
  return parts.length === 0 ? `${open}${close}` : `${open}\n${parts.map((it) => `${inner}${it},\n`).join("")}${indent}${close}`;
}
