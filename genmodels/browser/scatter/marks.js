// The sign of each class: a shape in its colour, or the class's own digit or letter. Never the colour alone.

// Corners in a square from -1 to 1, y downwards; the circle has none.
const CORNERS = {
  square: [[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]],
  "triangle-up": [[0, -1], [0.95, 0.8], [-0.95, 0.8]],
  "triangle-down": [[0, 1], [0.95, -0.8], [-0.95, -0.8]],
  "triangle-right": [[1, 0], [-0.8, 0.95], [-0.8, -0.95]],
  "triangle-left": [[-1, 0], [0.8, 0.95], [0.8, -0.95]],
  diamond: [[0, -1], [0.8, 0], [0, 1], [-0.8, 0]],
  cross: [
    [-0.35, -1], [0.35, -1], [0.35, -0.35], [1, -0.35], [1, 0.35], [0.35, 0.35],
    [0.35, 1], [-0.35, 1], [-0.35, 0.35], [-1, 0.35], [-1, -0.35], [-0.35, -0.35],
  ],
  arrow: [[0, -1], [0.9, 0], [0.35, 0], [0.35, 1], [-0.35, 1], [-0.35, 0], [-0.9, 0]],
  wedge: [[0, -1], [0.5, 1], [-0.5, 1]],
};

const colourOf = (look, label) => look.colours[label % look.colours.length];

// Past the last mark they begin again shifted, so that no colour meets the same mark twice.
function markOf(look, label) {
  const count = look.marks.length;
  return look.marks[(label + 3 * Math.floor(label / count)) % count];
}

/** Relative luminance of red, green and blue in 0 to 255, WCAG 2.2. */
function luminance(colour) {
  const [r, g, b] = colour.map((part) => (part <= 10 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Whether a sign needs an edge in the colour of the ink: its own is too near to the paper's, by WCAG 2.2, 1.4.11. */
function isFaint(colour, paper) {
  const [dark, light] = [colour, paper].map((each) => luminance(rgbOf(each))).sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05) < 3;
}

/** One sign of radius r around (x, y). An edge in the colour of the paper keeps neighbours apart. */
function drawSign(pen, look, label, x, y, r, letters, edge) {
  pen.fillStyle = colourOf(look, label);
  pen.strokeStyle = edge || "transparent";
  pen.lineWidth = Math.max(1.5, r / 4); // the inner half is painted over
  pen.lineJoin = "round";
  pen.beginPath();
  if (letters) {
    pen.font = `700 ${Math.round(r * 2)}px sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.strokeText(look.classes[label], x, y, 2 * r);
    pen.fillText(look.classes[label], x, y, 2 * r);
    return;
  }
  const corners = CORNERS[markOf(look, label)];
  if (corners) {
    corners.forEach(([u, v], i) => (i ? pen.lineTo(x + r * u, y + r * v) : pen.moveTo(x + r * u, y + r * v)));
    pen.closePath();
  } else {
    pen.arc(x, y, 0.85 * r, 0, 7);
  }
  if (edge) pen.stroke();
  pen.fill();
}

/** All signs in one row of square cells, `size` device pixels each: what both painters stamp from. */
function atlas(look, size, letters, paper, ink) {
  const cells = Math.min(look.classes.length, 128);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [cells * size, size];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  for (let c = 0; c < cells; c++) {
    const edge = isFaint(colourOf(look, c), paper) ? ink : size >= 12 && paper;
    drawSign(pen, look, c, (c + 0.5) * size, size / 2, size / 2 - (edge ? Math.max(1.25, size / 14) : 0.5), letters, edge);
  }
  return { canvas, cells, size };
}
