// The classes with their signs: a press shows that class alone, another adds one, and none pressed shows all.

function drawLegend(place, look, on, changed, paper, ink) {
  place.replaceChildren(...(look.classes.length > 1 ? look.classes : []).map((name, label) => {
    const button = make("button"), sign = make("canvas");
    sign.width = sign.height = 28;
    const edge = isFaint(colourOf(look, label), paper) ? ink : null;
    drawSign(sign.getContext("2d"), look, label, 14, 14, 12, false, edge);
    button.type = "button";
    button.append(sign, name);
    button.setAttribute("aria-pressed", on.has(label));
    button.title = `Show ${name} alone, or with others pressed`;
    button.onclick = () => {
      if (!on.delete(label)) on.add(label);
      if (on.size === look.classes.length) on.clear();
      [...place.children].forEach((each, i) => each.setAttribute("aria-pressed", on.has(i)));
      changed();
    };
    return button;
  }));
}
