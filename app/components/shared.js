// What components of the app share: what the server answers.

/** What the server answers. Throws an Error with a sentence. */
async function bytesOf(address, options) {
  const answer = await fetch(address, options).catch(() => null);
  if (!answer) throw new Error("The server does not answer, so the picture stands still.");
  if (!answer.ok) throw new Error(await answer.text());
  return new Uint8Array(await answer.arrayBuffer());
}
