// The same points without WebGL: signs are stamped into an array of pixels, which is faster than any drawing command.

const LAYERS = [[1, 0.2], [2, 1], [3, 1]]; // flag and opacity, in the order of painting: dimmed, plain, selected

/** A painter like webglPainter's; `paper` gives the colour behind, as pixels here are opaque or not there. */
function plainPainter(paper) {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  let pixels = null, stamps = null, known = null;
  return {
    canvas, kind: "plain",
    places() {}, labels() {}, flags() {},
    paint(scene, view, signs, ratio) {
      const { width, height } = canvas;
      if (pixels?.width !== width || pixels?.height !== height) pixels = pen.createImageData(width, height);
      const key = paper();
      if (known?.signs !== signs || known.key !== key || known.width !== width) {
        known = { signs, key, width };
        stamps = LAYERS.map(([, alpha]) => stampsOf(signs, rgbOf(key), alpha, width));
      }
      const target = new Uint32Array(pixels.data.buffer).fill(0);
      LAYERS.forEach(([flag], layer) => {
        if (scene.counts[flag]) stamp(scene, view, flag, stamps[layer], signs, ratio, target, width, height);
      });
      pen.putImageData(pixels, 0, 0);
    },
    close() {},
  };
}

/** Puts the sign of every point with this flag; those that would cross the border are left out by the pixel. */
function stamp(scene, view, flag, stamps, signs, ratio, target, width, height) {
  const { xy, labels, flags } = scene, k = view.k * ratio, half = signs.size / 2;
  const left = width / 2 - view.x * k - half, top = height / 2 + view.y * k - half;
  for (let i = 0; i < flags.length; i++) {
    if (flags[i] !== flag) continue;
    const x = Math.round(xy[2 * i] * k + left), y = Math.round(top - xy[2 * i + 1] * k);
    if (x < 0 || y < 0 || x + signs.size > width || y + signs.size > height) continue;
    const { where, colour } = stamps[labels[i] % signs.cells], first = y * width + x;
    for (let j = 0; j < where.length; j++) target[first + where[j]] = colour[j];
  }
}

/** Of each sign the pixels that are there: how far from its first on a canvas `across` wide, and mixed with the paper. */
function stampsOf(signs, [r, g, b], alpha, across) {
  const { data, width } = signs.canvas.getContext("2d").getImageData(0, 0, signs.canvas.width, signs.size);
  return Array.from({ length: signs.cells }, (_, c) => {
    const where = [], colour = [];
    for (let y = 0; y < signs.size; y++) {
      for (let x = 0; x < signs.size; x++) {
        const p = 4 * (y * width + c * signs.size + x), share = (data[p + 3] / 255) * alpha;
        if (data[p + 3] < 64) continue;
        const mixed = [r, g, b].map((under, i) => Math.round(share * data[p + i] + (1 - share) * under));
        where.push(y * across + x), colour.push(((255 << 24) | (mixed[2] << 16) | (mixed[1] << 8) | mixed[0]) >>> 0);
      }
    }
    return { where: Int32Array.from(where), colour: Uint32Array.from(colour) };
  });
}

/** Any CSS colour as [red, green, blue]. */
function rgbOf(colour) {
  const pen = new OffscreenCanvas(1, 1).getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
