// (A - B) times a strength plus an item = a result. Every strength was decoded by the server, so that dragging is at once.

const PATIENCE = 150; // ms without a move after which the page hears of it

class Equation {
  constructor(root) {
    this.root = root;
    this.slider = root.querySelector("input");
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    this.slider.addEventListener("change", () => this.tell());
  }

  load(message) {
    this.message = message;
    const { strengths, strength } = message;
    Object.assign(this.slider, { min: 0, max: strengths.length - 1, step: 1 });
    this.drawRow();
    this.drawMarks();
    this.drawStrip();
    this.slider.value = strengths.indexOf(strength);
    this.show(strengths.indexOf(strength));
  }

  drawRow() {
    const { parts } = this.message, row = this.root.querySelector(".row");
    const [a, b, item] = parts.map((part) => this.tile(part));
    this.times = make("span", "sign times");
    this.result = make("canvas");
    this.result.setAttribute("role", "img");
    const result = make("figure", "result");
    this.caption = make("figcaption");
    result.append(this.result, this.caption);
    const sign = (words) => make("span", "sign", words);
    const group = (...children) => {
      const span = make("span", "together");
      span.append(...children);
      return span;
    };
    row.replaceChildren(
      group(sign("("), a, sign("−"), b, sign(")"), this.times), group(sign("+"), item, sign("="), result),
    );
  }

  /** The mean of a group, or the item, decoded; under it some of its images and its name. */
  tile({ name, words, picture, few, alt }) {
    const { shape, pictures, scale, small } = this.message, figure = make("figure"), caption = make("figcaption");
    const images = make("div", "few");
    images.append(...few.map((i) => pictureOf(pictures, i, shape, small, "")));
    for (const canvas of images.children) canvas.setAttribute("aria-hidden", "true");
    caption.append(make("b", "", name), make("br"), words);
    figure.append(pictureOf(pictures, picture, shape, scale, alt), images, caption);
    return figure;
  }

  /** Where on the slider nothing and once the difference is added. */
  drawMarks() {
    const { strengths } = this.message, marks = this.root.querySelector(".marks");
    marks.replaceChildren(...[[0, "0: the item"], [1, "1: all of A − B"]].map(([value, words]) => {
      const mark = make("span", "", words);
      mark.style.setProperty("--at", strengths.indexOf(value) / (strengths.length - 1));
      return mark;
    }));
  }

  drawStrip() {
    const { steps, shape, results, small, strengths } = this.message;
    this.buttons = steps.map(({ at, words, title }) => {
      const button = make("button");
      button.type = "button";
      button.title = title;
      button.setAttribute("aria-label", `Strength ${strengths[at]}: ${title}`);
      const canvas = make("canvas");
      paint(canvas, results, at, shape, this.message.step);
      button.append(canvas, make("b", "", String(strengths[at]).replace("-", "−")), make("small", "", words));
      button.addEventListener("click", () => {
        this.slider.value = at;
        this.show(at);
        this.tell();
      });
      return button;
    });
    this.root.querySelector(".strip").replaceChildren(...this.buttons);
  }

  show(at) {
    const { strengths, results, shape, large, steps, parts } = this.message, strength = strengths[at];
    const said = strength.toFixed(2).replace("-", "−");
    paint(this.result, results, at, shape, large);
    this.times.textContent = `× ${said}`;
    this.caption.textContent = "result";
    this.result.setAttribute("aria-label", `Result: ${said} times (${parts[0].name} minus ${parts[1].name}) plus ${parts[2].name}`);
    this.slider.setAttribute("aria-valuetext", `${said} times A minus B`);
    this.root.querySelector("output").textContent = said;
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", steps[i].at === at));
  }

  /** The page is told when the hand rests: it measures what lies near, and puts the strength into the address. */
  tell() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.send("strength", this.message.strengths[this.slider.value]), PATIENCE);
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".equation");
  const equation = (root.equation ??= new Equation(root));
  equation.send = setStateValue;
  const message = unpack(data);
  if (equation.message?.head !== message.head) equation.load(message);
}
