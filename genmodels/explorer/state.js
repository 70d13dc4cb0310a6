// What the parts of the page share: the message of the file, the decoder, and the code where the sliders stand.

const about = unpack(bytesOfText(document.getElementById("data").textContent));
const { layers } = parts.read(about.decoder);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const lab = { z: Float32Array.from(about.start), label: 0, from: "", moved: [], settled: [] }; // moved, settled: listeners

function bytesOfText(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** What the model draws, as people write: dark ink on light paper. -> Uint8Array (C * H * W). */
function drawn(z, label = lab.label) {
  const light = about.light;
  const values = parts.decode(layers, z, label);
  return Uint8Array.from(values, (value) => Math.round(255 * (light ? 1 - value : value)));
}

/** Draws the image of a code on a canvas, which is as large as the image; see `enlarge`. */
function paint(canvas, z, label) {
  putPixels(canvas, pixelsOf(drawn(z, label), about.shape));
}

/** A canvas that is shown enlarged by a whole factor, to so many CSS pixels at most. */
function pictureOf(wanted, words) {
  const canvas = make("canvas"), [, height, width] = about.shape, factor = Math.max(1, Math.floor(wanted / Math.max(height, width)));
  canvas.style.width = `${factor * width}px`;
  canvas.style.height = `${factor * height}px`;
  if (words) {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", words);
  }
  return canvas;
}

const written = (value) => value.toFixed(2).replace(/^-0.00$/, "0.00").replace("-", "−");
