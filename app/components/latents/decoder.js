// Runs a small decoder in the browser: code in, image out, in a millisecond or a few.
//
// What it gets is described in decoder.py: a JSON header with the list of layers, then their weights as float32.
// Other components find the decoders that the page has sent in globalThis.latentLab.decoders, by their id.

const KEPT = 4; // of the runs looked at, the last few

// The id, and the layers with views of their weights and room for what they give. bytes: Uint8Array.
export function read(bytes) {
  const buffer = bytes.slice().buffer; // its own, so that the numbers start at a whole word
  const length = new DataView(buffer).getUint32(0, true);
  const { id, layers } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const take = (count) => {
    const part = new Float32Array(buffer, at, count);
    at += 4 * count;
    return part;
  };
  for (const layer of layers) {
    layer.out = new Float32Array(size(layer.shape)); // used again for each image: nothing to collect
    if (layer.inputs === undefined) continue;
    layer.row = layer.inputs * (layer.side ?? 1) ** 2;
    layer.weight = take(layer.row * layer.shape[0]);
    layer.bias = take(layer.shape[0]);
  }
  return { id, layers };
}

// One image from one code. -> Float32Array (C * H * W) in [0, 1], valid until the next call.
export function decode(layers, z) {
  let x = Float32Array.from(z);
  let shape = [x.length];
  for (const layer of layers) {
    x = KINDS[layer.kind](layer, x, shape);
    shape = layer.shape;
  }
  return x;
}

const KINDS = {
  none: (layer, x) => x,
  linear: (layer, x) => products(layer, x, 1),
  relu: (layer, x) => each(layer, x, (value) => (value > 0 ? value : 0)),
  sigmoid: (layer, x) => each(layer, x, (value) => 1 / (1 + Math.exp(-value))),
  clamp: (layer, x) => each(layer, x, (value) => Math.min(1, Math.max(0, value))),
  conv: (layer, x, shape) => products(layer, patches(layer, x, shape), shape[1] * shape[2]),
  shuffle,
  crop,
};

const size = (shape) => shape.reduce((product, side) => product * side, 1);

function each(layer, x, change) {
  const { out } = layer;
  for (let i = 0; i < out.length; i++) out[i] = change(x[i]);
  return out;
}

// bias + weight times each of `count` columns: out[o * count + p] = b[o] + sum_i w[o, i] x[p, i].
// Four outputs at a time share each number that is read, and their sums do not wait for each other.
function products({ out, weight, bias, row }, x, count) {
  const outputs = bias.length;
  for (let o = 0; o < outputs; o += 4) {
    const last = outputs - 1; // beyond it the last is done again, to the same end
    const o1 = Math.min(o + 1, last), o2 = Math.min(o + 2, last), o3 = Math.min(o + 3, last);
    const w0 = o * row, w1 = o1 * row, w2 = o2 * row, w3 = o3 * row;
    for (let p = 0, q = 0; p < count; p++, q += row) {
      let a = bias[o], b = bias[o1], c = bias[o2], d = bias[o3];
      for (let i = 0; i < row; i++) {
        const value = x[q + i];
        a += weight[w0 + i] * value;
        b += weight[w1 + i] * value;
        c += weight[w2 + i] * value;
        d += weight[w3 + i] * value;
      }
      out[o * count + p] = a;
      out[o1 * count + p] = b;
      out[o2 * count + p] = c;
      out[o3 * count + p] = d;
    }
  }
  return out;
}

// What a convolution sees at each place, one after the other, with zeros around the edge.
function patches(layer, x, [channels, height, width]) {
  const { side, row } = layer, pad = side >> 1;
  layer.seen ??= new Float32Array(row * height * width);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let across = 0; across < width; across++) {
      for (let channel = 0; channel < channels; channel++) {
        for (let v = y - pad; v <= y + pad; v++) {
          const from = (channel * height + v) * width;
          for (let u = across - pad; u <= across + pad; u++) {
            layer.seen[to++] = v >= 0 && v < height && u >= 0 && u < width ? x[from + u] : 0;
          }
        }
      }
    }
  }
  return layer.seen;
}

// Channels become pixels: (C r r, H, W) -> (C, H r, W r), as torch.nn.PixelShuffle.
function shuffle({ out, factor, shape: [, tall, wide] }, x, [channels, height, width]) {
  for (let from = 0; from < channels; from++) {
    const within = from % (factor * factor), to = (from - within) / (factor * factor);
    const down = Math.floor(within / factor), right = within % factor;
    for (let y = 0; y < height; y++) {
      for (let u = 0; u < width; u++) {
        out[(to * tall + y * factor + down) * wide + u * factor + right] = x[(from * height + y) * width + u];
      }
    }
  }
  return out;
}

function crop({ out, shape: [channels, tall, wide] }, x, [, height, width]) {
  for (let channel = 0; channel < channels; channel++) {
    for (let y = 0; y < tall; y++) {
      const from = (channel * height + y) * width;
      out.set(x.subarray(from, from + wide), (channel * tall + y) * wide);
    }
  }
  return out;
}

// Streamlit calls this with the bytes: the decoder is kept for the components of the page. See __init__.py.
export default function ({ data }) {
  const { id, layers } = read(data);
  const lab = (globalThis.latentLab ??= { decoders: new Map() });
  lab.decoders.set(id, (z) => decode(layers, z));
  if (lab.decoders.size > KEPT) lab.decoders.delete(lab.decoders.keys().next().value);
  globalThis.dispatchEvent(new Event("latent-decoder"));
}
