// Handles on the vertices of an outline, which the mouse drags. Leaflet draws them as circles with the class samgeo-handle. The
// class samgeo-at:REVISION,NUMBER,X,Y,X,Y names the handle, and gives the way from it to its neighbours, in pixels. All events on
// handles are taken here, before Leaflet sees them: it would move the map or report a click. While a handle is dragged, it is
// moved with a line to its neighbours; the kernel gets one message at the end.

const HANDLE = "path.samgeo-handle";
const MOVED_PX = 3;

function listenToHandles(root, model) {
  let drag = null;
  let mouse = [0, 0];
  const stop = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  const handleOf = (event) => event.target.closest?.(HANDLE) ?? null;
  const read = (handle) => {
    const [revision, number, ...arms] = /samgeo-at:(\S+)/.exec(handle.getAttribute("class"))[1].split(",").map(Number);
    return { revision, number, arms };
  };
  const tell = (handle, what, more) => {
    const { revision, number } = read(handle);
    model.send({ kind: "vertex", what, revision, number, ...more });
  };
  const end = () => {
    drag?.line.remove();
    drag = null;
  };
  const show = (x, y) => {
    const [cx, cy] = drag.middle, [x0, y0, x1, y1] = drag.arms;
    drag.line.setAttribute("d", `M${cx + x0} ${cy + y0}L${cx + x} ${cy + y}L${cx + x1} ${cy + y1}`);
    drag.handle.setAttribute("transform", `translate(${x} ${y})`);
  };
  const onDown = (event) => {
    const handle = handleOf(event);
    if (!handle) return;
    stop(event);
    root.focus({ preventScroll: true });
    if (event.button !== 0) return;
    const box = handle.getBBox();
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "samgeo-arms");
    handle.before(line);
    const middle = [box.x + box.width / 2, box.y + box.height / 2];
    drag = { handle, line, middle, arms: read(handle).arms, start: [event.clientX, event.clientY] };
  };
  const onMove = (event) => {
    mouse = [event.clientX, event.clientY];
    if (!drag) return;
    stop(event);
    show(event.clientX - drag.start[0], event.clientY - drag.start[1]);
  };
  const onUp = (event) => {
    if (!drag || event.button !== 0) return;
    stop(event);
    const { handle, start } = drag, x = event.clientX - start[0], y = event.clientY - start[1];
    end();
    if (!handle.isConnected) return;
    const isMoved = Math.hypot(x, y) >= MOVED_PX;
    if (isMoved) tell(handle, "drag", { x, y });
    else {
      handle.removeAttribute("transform");
      if (handle.matches(".samgeo-middle")) tell(handle, "drag", { x: 0, y: 0 });
    }
  };
  const onClick = (event) => {
    if (handleOf(event)) stop(event);
  };
  const onMenu = (event) => {
    const handle = handleOf(event);
    if (!handle) return;
    stop(event);
    tell(handle, "remove");
  };
  const onKey = (event) => {
    if (drag && event.key === "Escape") {
      drag.handle.removeAttribute("transform");
      end();
      stop(event);
    }
    if (event.key !== "Delete" || event.target.closest("input, textarea, select")) return;
    const handle = document.elementFromPoint(...mouse)?.closest(HANDLE);
    if (!handle || !root.contains(handle)) return;
    stop(event);
    tell(handle, "remove");
  };
  const listened = [
    [root, "mousedown", onDown],
    [document, "mousemove", onMove],
    [document, "mouseup", onUp],
    [root, "click", onClick],
    [root, "dblclick", onClick],
    [root, "contextmenu", onMenu],
    [root, "keydown", onKey],
  ];
  for (const [on, event, does] of listened) on.addEventListener(event, does, { capture: true });
  return () => {
    end();
    for (const [on, event, does] of listened) on.removeEventListener(event, does, { capture: true });
  };
}
