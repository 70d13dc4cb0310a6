// A GIF, or its first frame in its place. It moves from the start unless the system says that motion is not wanted.

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".loop"), about = unpack(data);
  if (root.known === about.head) return;
  root.known = about.head;
  const [image, still, button] = ["img", "canvas", "button"].map((tag) => root.querySelector(tag));
  const film = new Blob([about.gif], { type: "image/gif" });
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(film);
  image.alt = about.alt;
  still.setAttribute("aria-label", about.alt);
  image.style.width = still.style.width = `${about.width}px`;
  createImageBitmap(film).then((first) => {
    Object.assign(still, { width: first.width, height: first.height });
    still.getContext("2d").drawImage(first, 0, 0);
  });
  const show = (moving) => {
    [image.hidden, still.hidden] = [!moving, moving];
    button.textContent = moving ? "❚❚" : "▶"; // as in the player
    button.setAttribute("aria-label", moving ? "Pause" : "Play");
  };
  button.onclick = () => show(image.hidden);
  show(!matchMedia("(prefers-reduced-motion: reduce)").matches);
}
