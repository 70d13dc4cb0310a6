/** What Python's `pack` sent: the description with its arrays as typed arrays, and `head`, which tells messages apart. */
function unpack(bytes) {
  const whole = bytes.slice().buffer, length = new DataView(whole).getUint32(0, true);
  const head = new TextDecoder().decode(new Uint8Array(whole, 4, length)), message = JSON.parse(head);
  const kinds = { f4: Float32Array, u4: Uint32Array, u2: Uint16Array, u1: Uint8Array };
  for (const [name, [kind, start, size]] of Object.entries(message.arrays)) {
    message[name] = new kinds[kind](whole, 4 + length + start, size / kinds[kind].BYTES_PER_ELEMENT);
  }
  return { ...message, head };
}

