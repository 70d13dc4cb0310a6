// The decoder of a run on the page: put behind decoder.js. See __init__.py.
//
// Other components find the decoders that the page has sent in globalThis.latentLab.decoders, by their id.

const KEPT = 4; // of the runs looked at, the last few

// Streamlit calls this with the bytes: the decoder is kept for the components of the page.
export default function ({ data }) {
  const { id, layers } = read(data);
  const lab = (globalThis.latentLab ??= { decoders: new Map() });
  lab.decoders.set(id, (z) => decode(layers, z));
  if (lab.decoders.size > KEPT) lab.decoders.delete(lab.decoders.keys().next().value);
  globalThis.dispatchEvent(new Event("latent-decoder"));
}
