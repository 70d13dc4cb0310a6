// The door: called by Streamlit when the component appears and at each rerun that changes something.

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".map");
  const map = (root.scatter ??= new ScatterMap(root));
  map.send = setTriggerValue;
  const message = messageOf(data), same = message.head;
  if (map.known !== same) {
    performance.mark("scatter-data"); // the bench counts from here to the first paint
    map.load(message);
  }
  map.known = same;
  // A rerun may tidy up and call again: only what has left the page is closed.
  return () => queueMicrotask(() => {
    if (root.isConnected) return;
    map.close();
    delete root.scatter;
  });
}
