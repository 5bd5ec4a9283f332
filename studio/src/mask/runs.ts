// Run-length code of bytes, for changes of a mask: mostly zeros, or long runs of one value.

/** Pairs of a length, as a variable-length number, and a value. */
export function pack(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  let out = new Uint8Array(256);
  let at = 0;
  for (let start = 0; start < bytes.length; ) {
    const value = bytes[start]!;
    let end = start + 1;
    while (end < bytes.length && bytes[end] === value) end++;
    if (at + 6 > out.length) {
      const larger = new Uint8Array(out.length * 2);
      larger.set(out);
      out = larger;
    }
    let length = end - start;
    for (; length > 127; length = Math.floor(length / 128)) out[at++] = (length % 128) | 128;
    out[at++] = length;
    out[at++] = value;
    start = end;
  }
  return out.slice(0, at);
}

export function unpack(packed: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  for (let at = 0, to = 0; at < packed.length; ) {
    let run = 0;
    for (let scale = 1; ; scale *= 128) {
      const part = packed[at++]!;
      run += (part & 127) * scale;
      if (part < 128) break;
    }
    out.fill(packed[at++]!, to, to + run);
    to += run;
  }
  return out;
}
