// The part of the map that runs in the browser. It listens to events in the element of class samgeo-map around it.
//
// JupyterLab opens its own menu on a right click, and uses letters as commands for cells (x cuts the cell). It ignores elements
// with these attributes. Jupyter Notebook gets each key before any element does, and only checks which element has the focus.
// Therefore the root element can have the focus: a click on an element that cannot have it, such as a row of the table or the
// status line, moves the focus to the map and not to the notebook. A button that is disabled while it has the focus loses the
// focus to the page in one of the next frames. The root element takes it before, or two frames later.

const ALONE = "samgeo-image-alone";
const KEYS_SHOWN = "samgeo-keys-shown";
const WHEEL_HINT = "samgeo-wheel-hint";
const HINT_MS = 1500;

function listen(root, model) {
  root.setAttribute("data-jp-suppress-context-menu", "");
  root.setAttribute("data-lm-suppress-shortcuts", "true");
  root.tabIndex = -1;
  let focused = null;
  const onFocus = (event) => {
    focused = event.target;
    focused.setAttribute("data-lm-suppress-shortcuts", "true");
  };
  const onLeave = (event) => {
    // Without a place that it goes to, the focus is lost and not moved by a hand.
    if (event.relatedTarget && !root.contains(event.relatedTarget)) focused = null;
  };
  const takeBack = (lost) => {
    const now = document.activeElement;
    if (!now || now === lost || (now !== root && now.contains(root))) root.focus({ preventScroll: true });
  };
  const observer = new MutationObserver((changes) => {
    const lost = focused;
    if (!lost?.disabled || !changes.some((change) => change.target === lost)) return;
    focused = null;
    // At once, so that no key that is pressed meanwhile is lost; and later, where the browser has moved the focus before.
    if (document.activeElement === lost) root.focus({ preventScroll: true });
    else requestAnimationFrame(() => requestAnimationFrame(() => takeBack(lost)));
  });
  observer.observe(root, { attributes: true, attributeFilter: ["disabled"], subtree: true });
  const keys = new Set(model.get("listens_to"));
  const isTyping = (target) => target.closest("input:not([type=checkbox]):not([type=range]), textarea, select") !== null;
  const toggleKeys = () => {
    if (root.classList.toggle(KEYS_SHOWN)) root.querySelector(".samgeo-keys")?.scrollIntoView({ block: "nearest" });
  };
  const onKey = (event) => {
    const target = event.target;
    if (event.altKey || isTyping(target)) return;
    if (target.closest("button, input") && ["Enter", " "].includes(event.key)) return;
    let key = event.key;
    if (key === "?" || (key === "Escape" && root.classList.contains(KEYS_SHOWN))) {
      toggleKeys();
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if (key === "h" && !event.ctrlKey && !event.metaKey) {
      root.classList.add(ALONE);
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if (event.ctrlKey || event.metaKey) {
      if (key.toLowerCase() !== "z") return;
      key = event.shiftKey ? "y" : "z";
    }
    if (!keys.has(key)) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ kind: "key", key });
  };
  const onKeyUp = (event) => {
    if (event.key === "h") showShapes();
  };
  const showShapes = () => root.classList.remove(ALONE);
  const onClick = (event) => {
    if (event.target.closest(".samgeo-help, .samgeo-keys")) toggleKeys();
    if (event.target.closest(".samgeo-fullscreen")) {
      if (document.fullscreenElement) document.exitFullscreen();
      else root.requestFullscreen();
    }
    const row = event.target.closest("[data-samgeo-id]");
    if (row) model.send({ kind: "row", id: Number(row.dataset.samgeoId) });
  };
  // Leaflet tells when the mouse comes over a shape, and ipyleaflet does not pass on when it leaves.
  const onOut = (event) => {
    if (event.target.closest("path.leaflet-interactive")) model.send({ kind: "left" });
  };
  // The second click of a double-click is no prompt: Leaflet gets the first one alone.
  const onClickBefore = (event) => {
    if (event.detail > 1 && event.target.closest(".leaflet-container")) event.stopImmediatePropagation();
  };
  // The wheel scrolls the page until the analyst has clicked into the map, and again after the focus has left.
  let zooms = false;
  let hint = 0;
  const onDown = (event) => {
    zooms = root.contains(event.target) && (zooms || event.target.closest(".leaflet-container") !== null);
    if (zooms) root.classList.remove(WHEEL_HINT);
  };
  const onWheel = (event) => {
    if (zooms || document.fullscreenElement === root || !event.target.closest(".leaflet-container")) return;
    event.stopImmediatePropagation();
    root.classList.add(WHEEL_HINT);
    clearTimeout(hint);
    hint = setTimeout(() => root.classList.remove(WHEEL_HINT), HINT_MS);
  };
  let screen = null;
  const onScreen = () => {
    screen?.removeEventListener("change", onScreen);
    model.send({ kind: "screen", ratio: window.devicePixelRatio });
    // It changes when the page is zoomed, or its window is moved to another screen.
    screen = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    screen.addEventListener("change", onScreen);
  };
  onScreen();
  // Leaflet looks at its size when the size of the window changes. The map also becomes wider or narrower alone, as where a
  // scroll bar appears beside the notebook.
  const size = new ResizeObserver(() => window.dispatchEvent(new Event("resize")));
  let sizeFrame = 0;
  const watchSize = () => {
    const map = root.querySelector(".samgeo-leaflet");
    if (map) size.observe(map);
    else sizeFrame = requestAnimationFrame(watchSize);
  };
  watchSize();
  const stopHandles = listenToHandles(root, model);
  root.addEventListener("mouseout", onOut);
  root.addEventListener("focusin", onFocus);
  root.addEventListener("focusout", onLeave);
  root.addEventListener("keydown", onKey);
  root.addEventListener("click", onClick);
  root.addEventListener("keyup", onKeyUp);
  root.addEventListener("focusout", showShapes);
  root.addEventListener("click", onClickBefore, { capture: true });
  root.addEventListener("wheel", onWheel, { capture: true });
  document.addEventListener("mousedown", onDown, { capture: true });
  return () => {
    stopHandles();
    size.disconnect();
    cancelAnimationFrame(sizeFrame);
    clearTimeout(hint);
    root.removeEventListener("keyup", onKeyUp);
    root.removeEventListener("focusout", showShapes);
    root.removeEventListener("click", onClickBefore, { capture: true });
    root.removeEventListener("wheel", onWheel, { capture: true });
    document.removeEventListener("mousedown", onDown, { capture: true });
    screen.removeEventListener("change", onScreen);
    root.removeEventListener("mouseout", onOut);
    observer.disconnect();
    root.removeEventListener("focusin", onFocus);
    root.removeEventListener("focusout", onLeave);
    root.removeEventListener("keydown", onKey);
    root.removeEventListener("click", onClick);
  };
}

function render({ model, el }) {
  let stop = () => {};
  let frame = 0;
  const attach = () => {
    const root = el.closest(".samgeo-map");
    if (root) stop = listen(root, model);
    else frame = requestAnimationFrame(attach);
  };
  attach();
  return () => {
    cancelAnimationFrame(frame);
    stop();
  };
}

export default { render };
