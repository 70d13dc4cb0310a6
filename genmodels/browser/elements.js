// Elements, images as pixels, keys on radio buttons: for every part that lives in the browser.

/** An element of this kind and class, with these words in it. */
function make(kind, name = "", words = "") {
  const element = document.createElement(kind);
  element.className = name;
  element.textContent = words;
  return element;
}

/** Images of uint8 (n, C, H, W) as pixels, one below the other: `count` of them, from number `first` on. */
function pixelsOf(images, [depth, height, width], first = 0, count = 1) {
  const plane = height * width, pixels = new ImageData(width, height * count);
  for (let i = 0; i < count; i++) {
    for (let p = 0; p < plane; p++) {
      const to = 4 * (i * plane + p), from = (first + i) * depth * plane + p;
      for (let c = 0; c < 3; c++) pixels.data[to + c] = images[from + (depth === 3 ? c * plane : 0)];
      pixels.data[to + 3] = 255;
    }
  }
  return pixels;
}

/** Makes the canvas of the pixels' size, and puts them there. */
function putPixels(canvas, pixels) {
  const { width, height } = pixels;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** The radio button that an arrow key leads to from the one with the focus, round and round; null for other keys. */
function nextRadio(event, radios) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], at = radios.indexOf(event.target);
  if (!step || at < 0) return null;
  event.preventDefault();
  return radios[(at + step + radios.length) % radios.length];
}

/** Marks the one that is chosen; the Tab key leads to it alone. */
function markRadios(radios, isChosen) {
  for (const each of radios) {
    each.setAttribute("aria-checked", isChosen(each));
    each.tabIndex = isChosen(each) ? 0 : -1;
  }
}
