// What the faces of this folder share: a picture with words under it.

/** An element of this kind and class, with these words in it. */
function make(kind, name = "", words = "") {
  const element = document.createElement(kind);
  element.className = name;
  element.textContent = words;
  return element;
}

/** Image number i of uint8 (n, C, H, W); it is enlarged by a whole factor, without smoothing. */
function paint(canvas, images, i, [depth, height, width], scale) {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  canvas.style.width = `${width * scale}px`;
  const pen = canvas.getContext("2d"), picture = pen.createImageData(width, height);
  const plane = height * width, from = i * depth * plane;
  for (let p = 0; p < plane; p++) {
    for (let c = 0; c < 3; c++) picture.data[4 * p + c] = images[from + (depth === 3 ? c * plane : 0) + p];
    picture.data[4 * p + 3] = 255;
  }
  pen.putImageData(picture, 0, 0);
}

/** A canvas that a screen reader calls `alt`. */
function pictureOf(images, i, shape, scale, alt) {
  const canvas = make("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", alt);
  paint(canvas, images, i, shape, scale);
  return canvas;
}
