// Pictures, from the server's routes if nothing else makes them: asked for in batches, kept, and drawn enlarged by whole factors.

const BATCH = 200; // images in one request: a sheet of them fits any browser's canvas
const KEPT = 8000; // pictures in memory

/** Calls `work` one at a time; of what is asked meanwhile only the last is done. */
function latest(work) {
  let busy = false, next = null;
  return async function ask(...words) {
    if (busy) return void (next = words);
    busy = true;
    try {
      await work(...words);
    } catch {
      // The server is away or refuses: no picture then, and the next call tries again.
    }
    busy = false;
    if (next) {
      const words = next;
      next = null;
      ask(...words);
    }
  };
}

/** uint8 (n, C, H, W) as a canvas of n pictures, one below the other. */
function sheetOf(bytes, shape) {
  const canvas = make("canvas");
  putPixels(canvas, pixelsOf(bytes, shape, 0, bytes.length / (shape[0] * shape[1] * shape[2])));
  return canvas;
}

/** What the server of the app makes: uint8 (n, C, H, W), as people look at them. */
const fromServer = (about) => ({
  images: (what, ids) => bytesOf(`${about.images}?what=${what}&ids=${ids.join(",")}`),
  decode: (z) => bytesOf(about.decode, { method: "POST", body: z }),
});

/** The pictures of one run. about: shape and plane of the message, and the routes or, `from`, what does as they do. */
function picturesOf(about) {
  const from = about.from ?? fromServer(about);
  const tiles = new Map(); // "original 12" -> {sheet, row}
  const keyOf = (id, what) => `${what} ${id}`;
  return {
    has: (id, what) => tiles.has(keyOf(id, what)),
    /** Fetches those that are not here yet. */
    async get(ids, what) {
      const missing = ids.filter((id) => !tiles.has(keyOf(id, what)));
      for (let first = 0; first < missing.length; first += BATCH) {
        const part = missing.slice(first, first + BATCH);
        const sheet = sheetOf(await from.images(what, part), about.shape);
        part.forEach((id, row) => tiles.set(keyOf(id, what), { sheet, row }));
      }
      for (const key of tiles.keys()) {
        if (tiles.size <= KEPT) break;
        tiles.delete(key);
      }
    },
    /** What the decoder draws at a place of the map: z = offset + basis (x, y). */
    async decode(x, y) {
      const z = Float32Array.from(about.plane, ([offset, u, v]) => offset + u * x + v * y);
      return { sheet: sheetOf(await from.decode(z), about.shape), row: 0 };
    },
    tile: (id, what) => tiles.get(keyOf(id, what)),
    draw(pen, tile, x, y, width, height) {
      const [, h, w] = about.shape;
      pen.imageSmoothingEnabled = false;
      pen.drawImage(tile.sheet, 0, tile.row * h, w, h, x, y, width, height);
    },
  };
}

/** The whole factor by which pictures of `side` pixels come nearest to `wanted`. */
const factorFor = (side, wanted) => Math.max(1, Math.round(wanted / side));

/** A picture as an element of its own, with words under it. */
function figureOf(pictures, shape, tile, words) {
  const [, height, width] = shape, factor = factorFor(height, 84);
  const figure = make("figure"), canvas = make("canvas");
  [canvas.width, canvas.height] = [width * factor, height * factor];
  if (tile) pictures.draw(canvas.getContext("2d"), tile, 0, 0, canvas.width, canvas.height);
  figure.append(canvas, make("figcaption", "", words));
  return figure;
}
