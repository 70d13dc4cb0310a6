// One frame: the points by the painter, and over them what is written, drawn and shown in pictures.

Object.assign(ScatterMap.prototype, {
  draw() {
    cancelAnimationFrame(this.waiting);
    this.waiting = 0;
    if (!this.view || !this.scene) return;
    const size = this.signSize();
    if (!this.signs || this.signs.size !== size) {
      this.signs = atlas(this.message, size, this.letters, this.paper(), this.ink());
    }
    this.painter.paint(this.scene, this.view, this.signs, this.ratio);
    const { pen, view, ratio } = this;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, view.width, view.height);
    if (this.message.axes.some(Boolean)) this.drawTicks();
    if (this.thumbs && this.pictures) this.drawThumbs();
    else if (!this.letters) this.drawNames();
    if (this.drawn) this.drawDraft();
    this.drawCrosses();
    if (this.stage.dataset.painted !== this.message.version) performance.mark("scatter-painted");
    this.stage.dataset.painted = this.message.version;
  },

  /** Device pixels of a sign: smaller where there are many, larger where one looks closely. */
  signSize() {
    const count = this.scene.ids.length, plain = Math.min(14, Math.max(4.5, 20 - 3.3 * Math.log10(count + 1)));
    const close = Math.max(1, this.view.k / this.homeScale) ** 0.35;
    return Math.round(Math.min(20, Math.max(plain * close, this.letters ? 11 : 0)) * this.ratio);
  },

  drawTicks() {
    const { pen, view } = this, [left, bottom] = toData(view, 0, view.height), [right, top] = toData(view, view.width, 0);
    pen.font = `11px ${this.style("--st-font") || "sans-serif"}`;
    [pen.textAlign, pen.textBaseline] = ["center", "alphabetic"];
    const write = (text, x, y) => this.outlined(text.replace("-", "−"), x, y, 0.75);
    const across = ticks(left, right, view.width), up = ticks(bottom, top, view.height);
    for (const x of across.found) write(x.toFixed(across.digits), toScreen(view, x, 0)[0], view.height - 5);
    pen.textAlign = "left";
    for (const y of up.found) write(y.toFixed(up.digits), 4, toScreen(view, 0, y)[1] + 4);
  },

  outlined(text, x, y, alpha) {
    const { pen } = this;
    pen.globalAlpha = alpha;
    [pen.lineWidth, pen.lineJoin] = [3, "round"];
    pen.strokeStyle = this.style("--st-background-color");
    pen.fillStyle = this.style("--st-text-color");
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
    pen.globalAlpha = 1;
  },

  /** Each class's name in its middle, but for one that would lie on another. */
  drawNames() {
    const { pen, view, scene, message } = this;
    if (message.classes.length < 2 || message.classes.length > 40) return;
    scene.middles ??= medians(scene.xy, scene.labels);
    pen.font = `700 15px ${this.style("--st-font") || "sans-serif"}`;
    [pen.textAlign, pen.textBaseline] = ["center", "middle"];
    const written = [];
    for (const [label, middle] of scene.middles) {
      if (this.on.size && !this.on.has(label)) continue;
      const [x, y] = toScreen(view, ...middle), half = pen.measureText(message.classes[label]).width / 2;
      if (written.some(([u, v, other]) => Math.abs(u - x) < half + other && Math.abs(v - y) < 14)) continue;
      written.push([x, y, half]);
      this.outlined(message.classes[label], x, y, 1);
    }
  },

  /** Images in frames of their class's colour, as many as have room at this magnification. */
  drawThumbs() {
    const { pen, view, scene, message, pictures } = this, [, high, wide] = message.shape;
    const factor = factorFor(high, THUMB), [w, h] = [wide * factor, high * factor];
    const level = 2 ** (Math.floor(Math.log2(view.k) * 2) / 2), side = (Math.max(w, h) + 7) / level;
    if (scene.thumbs?.level !== level) {
      const order = scene === this.full ? this.order : shuffled(scene.ids.length);
      scene.thumbs = { level, found: placed(scene.xy, order, side, (i) => scene.flags[i] > 1) };
    }
    const missing = [];
    for (const i of scene.thumbs.found) {
      const [x, y] = toScreen(view, scene.xy[2 * i], scene.xy[2 * i + 1]).map(Math.round);
      if (x < -w || y < -h || x > view.width + w || y > view.height + h) continue;
      const tile = pictures.tile(scene.ids[i], this.what), [left, top] = [x - w / 2, y - h / 2];
      if (!tile) missing.push(scene.ids[i]);
      pen.fillStyle = colourOf(message, scene.labels[i]);
      pen.fillRect(left - 2, top - 2, w + 4, h + 4);
      if (tile) pictures.draw(pen, tile, left, top, w, h);
      if (message.classes.length > 1) {
        drawSign(pen, message, scene.labels[i], left + 2, top + 2, 4.5, false, this.style("--st-background-color"));
      }
    }
    if (missing.length) this.fill(missing);
  },

  drawDraft() {
    const { pen, drawn: { kind, corners: [x, y, ...rest] } } = this;
    pen.beginPath();
    if (kind === "box" && rest.length) pen.rect(x, y, rest[0] - x, rest[1] - y);
    else {
      pen.moveTo(x, y);
      for (let i = 0; i < rest.length; i += 2) pen.lineTo(rest[i], rest[i + 1]);
      pen.closePath();
    }
    pen.fillStyle = "rgb(128 128 128 / 20%)";
    pen.fill();
    pen.strokeStyle = this.style("--st-text-color");
    [pen.lineWidth, pen.lineJoin] = [1.5, "round"];
    pen.stroke();
  },

  /** A cross where the keys point, and one at the place that was clicked, with its picture. */
  drawCrosses() {
    const { pen, view, pinned } = this, pin = this.find(".pin"), places = [];
    if (this.keys) places.push([view.width / 2, view.height / 2]);
    pin.hidden = !pinned || !pin.childElementCount;
    if (pinned) {
      const place = toScreen(view, pinned.x, pinned.y);
      places.push(place);
      if (!pin.hidden) this.put(pin, ...place, 8);
    }
    for (const [colour, width] of [["--st-background-color", 4], ["--st-text-color", 1.5]]) {
      pen.beginPath();
      for (const [x, y] of places) {
        for (const [dx, dy] of [[8, 0], [0, 8]]) pen.moveTo(x - dx, y - dy), pen.lineTo(x + dx, y + dy);
      }
      [pen.strokeStyle, pen.lineWidth] = [this.style(colour), width];
      pen.stroke();
    }
  },

  close() {
    this.replay?.close();
    this.sizes.disconnect();
    cancelAnimationFrame(this.waiting);
    document.removeEventListener("latent-selection", this.hears);
    this.painter.close();
  },
});
