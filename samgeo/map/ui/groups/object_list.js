// The table of all accepted objects. It has as many rows in the page as are seen, and some more above and below them. The kernel
// has the others; this part asks for rows when the analyst scrolls, and when the kernel says that something has changed. What the
// kernel says is the text of an element beside this one. A click on a row is handled by the part of the map around it, which looks
// for data-samgeo-id.

const ROW_PX = 20;
const SPARE = 10;
const COLUMNS = [["id", "id"], ["class", "class"], ["area", null], ["score", "score"], ["time", "time"]];

function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function shortTime(text) {
  if (!text) return ["", ""];
  const at = new Date(text);
  const isToday = at.toDateString() === new Date().toDateString();
  const format = isToday ? { hour: "2-digit", minute: "2-digit", hour12: false } : { month: "2-digit", day: "2-digit" };
  return [isToday ? at.toLocaleTimeString([], format) : at.toLocaleDateString([], format), at.toLocaleString()];
}

function render({ model, el }) {
  const caption = made("div", "samgeo-table-caption");
  const scroller = made("div", "samgeo-table-rows");
  const table = made("table");
  const head = made("tr");
  const marks = new Map();
  for (const [name, label] of COLUMNS) {
    const cell = made("th");
    const button = made("button", "samgeo-sort", label ?? model.get("unit"));
    button.title = `sort by ${name}; once more: the other way round`;
    button.addEventListener("click", () => model.send({ kind: "sort", by: name }));
    cell.append(button);
    head.append(cell);
    marks.set(name, cell);
  }
  const above = made("tr"), below = made("tr");
  const body = made("tbody");
  const top = made("thead");
  top.append(head);
  table.append(top, body);
  scroller.append(table);
  el.append(caption, scroller);

  let asked = "";
  let selected = null;
  let shown = { version: 0, total: 0, selected: null, place: -1 };
  const line = (row) => {
    const element = made("tr");
    element.dataset.samgeoId = row.id;
    if (row.id === shown.selected) element.className = "samgeo-chosen";
    const swatch = made("span", "samgeo-swatch");
    swatch.style.background = row.color;
    const named = made("td");
    named.append(swatch, row.class);
    named.title = row.class;
    const [time, whole] = shortTime(row.time);
    const at = made("td", "", time);
    at.title = whole;
    element.append(made("td", "", row.id), named, made("td", "", row.area), made("td", "", row.score), at);
    return element;
  };
  const ask = () => {
    const first = Math.max(Math.floor(scroller.scrollTop / ROW_PX) - SPARE, 0);
    const count = Math.min(Math.ceil((scroller.clientHeight || 200) / ROW_PX) + 2 * SPARE, 200);
    const key = `${shown.version} ${first} ${count}`;
    if (key === asked) return;
    asked = key;
    model.send({ kind: "rows", first, count });
  };
  const space = (row, count) => {
    row.style.height = `${count * ROW_PX}px`;
    row.hidden = count <= 0;
  };
  const draw = (page) => {
    // Another view of the same map may have asked for rows that are not seen here.
    const low = Math.floor(scroller.scrollTop / ROW_PX), high = low + (scroller.clientHeight || 200) / ROW_PX;
    if (page.rows.length && (page.first > high || page.first + page.rows.length < low)) return;
    space(above, page.first);
    space(below, shown.total - page.first - page.rows.length);
    body.replaceChildren(above, ...page.rows.map(line), below);
  };
  const follow = () => {
    caption.textContent = `${shown.total.toLocaleString("en")} accepted`;
    table.hidden = !shown.total;
    for (const [name, cell] of marks) {
      if (name === shown.by) cell.setAttribute("aria-sort", shown.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    // An object that was selected on the map is brought into view.
    if (shown.selected !== selected && shown.place >= 0) {
      const at = shown.place * ROW_PX, room = scroller.clientHeight - 2 * ROW_PX;
      if (at < scroller.scrollTop || at > scroller.scrollTop + room) {
        space(below, shown.total);
        scroller.scrollTop = Math.max(at - room / 2, 0);
      }
    }
    selected = shown.selected;
    ask();
  };
  const hear = (text) => {
    if (!text) return;
    const told = JSON.parse(text);
    const isNew = told.shown.version !== shown.version;
    shown = told.shown;
    if (told.page) draw(told.page);
    if (isNew) follow();
  };
  let frame = 0;
  let observer = null;
  const attach = () => {
    const data = el.closest(".samgeo-table")?.querySelector(".samgeo-table-data");
    if (!data) {
      frame = requestAnimationFrame(attach);
      return;
    }
    observer = new MutationObserver(() => hear(data.textContent));
    observer.observe(data, { childList: true, characterData: true, subtree: true });
    hear(data.textContent);
  };
  scroller.addEventListener("scroll", ask, { passive: true });
  const size = new ResizeObserver(ask);
  size.observe(scroller);
  attach();
  return () => {
    cancelAnimationFrame(frame);
    size.disconnect();
    observer?.disconnect();
  };
}

export default { render };
