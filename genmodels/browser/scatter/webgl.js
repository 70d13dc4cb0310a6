// Points by the graphics processor: one draw call for each of dimmed, plain and selected.

const VERTEX = `#version 300 es
in vec2 place; in float label; in float flag;
uniform vec2 centre, scale; uniform float size, wanted, cells;
flat out float cell;
void main() {
  cell = mod(label, cells);
  gl_Position = flag == wanted ? vec4((place - centre) * scale, 0, 1) : vec4(2, 2, 2, 1);
  gl_PointSize = size;
}`;
const FRAGMENT = `#version 300 es
precision highp float; // as in the vertex shader, which shares a uniform
flat in float cell; out vec4 colour;
uniform sampler2D signs; uniform float alpha, cells;
void main() {
  colour = texture(signs, vec2((cell + gl_PointCoord.x) / cells, gl_PointCoord.y)) * alpha;
  if (colour.a == 0.0) discard;
}`;

/**
 * A painter on a canvas of its own, or null where there is no WebGL 2, or only one that the processor imitates: that is
 * three times slower than `plainPainter`. `lost` is called when the driver fails.
 */
function webglPainter(lost) {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", { antialias: false, failIfMajorPerformanceCaveat: true });
  const program = gl && !IMITATED.test(gl.getParameter(gl.RENDERER) + nameOf(gl)) && programOf(gl);
  if (!program) return null;
  canvas.addEventListener("webglcontextlost", (event) => (event.preventDefault(), lost()));
  const at = (name) => gl.getUniformLocation(program, name);
  const buffers = { place: gl.createBuffer(), label: gl.createBuffer(), flag: gl.createBuffer() };
  const fill = (name, array, size, type) => {
    const where = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, array, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(where);
    gl.vertexAttribPointer(where, size, type, false, 0, 0);
  };
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, true);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  for (const side of ["S", "T"]) gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_WRAP_${side}`], gl.CLAMP_TO_EDGE);
  for (const way of ["MIN", "MAG"]) gl.texParameteri(gl.TEXTURE_2D, gl[`TEXTURE_${way}_FILTER`], gl.NEAREST);
  let stamped = null;
  return {
    canvas, kind: "webgl",
    places: (scene) => fill("place", scene.xy, 2, gl.FLOAT),
    labels: (scene) => fill("label", scene.labels, 1, gl.UNSIGNED_SHORT),
    flags: (scene) => fill("flag", scene.flags, 1, gl.UNSIGNED_BYTE),
    paint(scene, view, signs, ratio) {
      if (stamped !== signs) {
        gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, signs.canvas);
        stamped = signs;
      }
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(at("centre"), view.x, view.y);
      gl.uniform2f(at("scale"), (2 * view.k) / view.width, (2 * view.k) / view.height);
      gl.uniform1f(at("size"), signs.size);
      gl.uniform1f(at("cells"), signs.cells);
      for (const [flag, alpha] of LAYERS) {
        if (!scene.counts[flag]) continue;
        gl.uniform1f(at("wanted"), flag);
        gl.uniform1f(at("alpha"), alpha);
        gl.drawArrays(gl.POINTS, 0, scene.flags.length);
      }
    },
    close: () => gl.getExtension("WEBGL_lose_context")?.loseContext(),
  };
}

// Graphics drivers that run on the processor; not all of them own up to it when asked for the caveat.
const IMITATED = /swiftshader|llvmpipe|softpipe|software|basic render/i;

const nameOf = (gl) => gl.getParameter(gl.getExtension("WEBGL_debug_renderer_info")?.UNMASKED_RENDERER_WEBGL ?? gl.VENDOR);

function programOf(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  return gl.getProgramParameter(program, gl.LINK_STATUS) ? program : null;
}
