// Runs a small decoder in the browser: code in, image out, in a millisecond or a few.
//
// What it gets is described in decoder.py: a JSON header with the list of layers, then their weights in that order.

// The id, and the layers with views of their weights and room for what they give. bytes: Uint8Array.
export function read(bytes) {
  const buffer = bytes.slice().buffer; // its own, so that the numbers start at a whole word
  const length = new DataView(buffer).getUint32(0, true);
  const { id, layers, half } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const numbers = half ? singles(new Uint16Array(buffer, 4 + length)) : new Float32Array(buffer, 4 + length);
  let at = 0;
  const take = (count) => numbers.subarray(at, (at += count));
  for (const layer of layers) {
    layer.out = new Float32Array(size(layer.shape)); // used again for each image: nothing to collect
    if (layer.inputs === undefined) continue;
    layer.row = layer.inputs * (layer.side ?? 1) ** 2;
    const outputs = layer.shape[0] * (layer.classes ?? 1);
    layer.weight = take(layer.row * outputs);
    layer.bias = take(outputs);
  }
  return { id, layers };
}

// IEEE 754 half precision, as Uint16Array -> Float32Array. Neither infinity nor NaN is a weight.
export function singles(halves) {
  const found = new Float32Array(halves.length), bits = new Uint32Array(found.buffer);
  halves.forEach((half, i) => {
    const sign = (half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent) bits[i] = sign | ((exponent + 112) << 23) | (fraction << 13);
    else found[i] = (sign ? -1 : 1) * fraction * 2 ** -24;
  });
  return found;
}

// One image from one code, and from its class where the decoder asks for one. -> Float32Array (C * H * W) in [0, 1],
// valid until the next call.
export function decode(layers, z, label = 0) {
  let x = Float32Array.from(z);
  let shape = [x.length];
  for (const layer of layers) {
    x = KINDS[layer.kind](layer, x, shape, label);
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
  scale,
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

// A gain and a shift for each channel, of this class where there are several.
function scale({ out, weight, bias, classes, shape: [channels, tall, wide] }, x, shape, label) {
  const first = classes ? label * channels : 0, plane = tall * wide;
  for (let i = 0; i < out.length; i++) {
    const which = first + Math.floor(i / plane);
    out[i] = x[i] * weight[which] + bias[which];
  }
  return out;
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
