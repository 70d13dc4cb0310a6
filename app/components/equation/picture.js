// What the faces of this folder share: a picture, enlarged by a whole factor without smoothing.

/** Image number i of uint8 (n, C, H, W). */
function paint(canvas, images, i, shape, scale) {
  putPixels(canvas, pixelsOf(images, shape, i));
  canvas.style.width = `${shape[2] * scale}px`;
}

/** A canvas that a screen reader calls `alt`. */
function pictureOf(images, i, shape, scale, alt) {
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", alt);
  paint(canvas, images, i, shape, scale);
  return canvas;
}
