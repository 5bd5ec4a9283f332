// Texts of callers as literals of the shell and of Python: whatever they hold, they are data there.

/** One word of a POSIX shell. */
export function shell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** A Python literal: what JSON writes for a text or a number is one. */
export function python(value: string | number | number[]): string {
  return Array.isArray(value) ? `[${value.join(", ")}]` : JSON.stringify(value);
}
