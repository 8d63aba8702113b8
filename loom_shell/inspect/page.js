const SHOWN = {
  all: ["everything", () => true],
  bad: ["failures, retries and interruptions", (row) => isBad(row) || row.attempts > 1 || row.outcome !== "complete"],
  woven: ["what was woven or reworded", (row) => row.woven !== null],
  compaction: ["compactions", (row) => row.kind === "compaction" || (row.woven && (row.woven.compaction || row.woven.reworded.length))],
  subagent: ["subagents", (row) => row.kind === "subagent"],
  beside: ["calls beside the turns", (row) => BESIDE.has(row.kind)],
};
let searched = { words: "", texts: new Set() };

// The texts that hold what is searched for: each is looked through once.
function textsWith(words) {
  if (searched.words !== words) {
    const texts = new Set();
    recording.texts.forEach(([text], place) => text.toLowerCase().includes(words) && texts.add(place));
    searched = { words, texts };
  }
  return searched.texts;
}

function* textsIn(row) {
  yield row.why;
  if (!row.inside) return;
  yield row.inside.headers;
  for (const line of row.inside.lines) yield line[3];
  const told = row.inside.asked;
  const blocks = told ? [told.system, ...told.messages.map((message) => message[2])] : [];
  for (const it of [...blocks.flat(), ...row.inside.answer]) yield* [it[1], it[5]];
}

function says(row, turn) {
  if (!view.words) return true;
  const own = `${row.model} ${row.path} ${row.outcome} ${row.stop} ${row.kind} ${row.id} #${row.number}`.toLowerCase();
  if (own.includes(view.words)) return true;
  const texts = textsWith(view.words);
  if (texts.has(turn.prompt)) return true;
  for (const place of textsIn(row)) if (texts.has(place)) return true;
  return false;
}

function toolSays(tool) {
  if (!view.words) return true;
  const texts = textsWith(view.words);
  return tool.name.toLowerCase().includes(view.words) || texts.has(tool.given) || texts.has(tool.result);
}

function rowsOf(turn, number) {
  if (view.session >= 0 && turn.session !== view.session) return [];
  if (view.turn >= 0 && number !== view.turn) return [];
  const fits = SHOWN[view.show][1];
  return turn.exchanges.map((place) => recording.exchanges[place]).filter((row) => fits(row) && says(row, turn));
}

function draw() {
  const main = byId("turns");
  main.replaceChildren();
  const found = recording.turns.map((turn, number) => [turn, rowsOf(turn, number)]).filter(([, rows]) => rows.length);
  const bySession = Map.groupBy ? Map.groupBy(found, ([turn]) => turn.session) : grouped(found);
  recording.sessions.forEach((session, number) => {
    const those = bySession.get(number) || [];
    const isChosen = view.session < 0 || view.session === number;
    const files = isChosen && !view.words && view.show === "all" && view.turn < 0 ? session.files : [];
    if (!those.length && !files.length) return;
    if (recording.sessions.length > 1) main.append(el("h2", {}, session.id ? `Session ${session.id}` : "No session"));
    if (session.is_torn) main.append(el("p", { class: "warn" }, "Some events of this session were lost when it was written down: what follows has gaps."));
    inPieces(main, those, ([turn, rows]) => turnCard(turn, rows), "turn");
    files.forEach((file) => main.append(fileCard(file, 0)));
  });
  const rows = found.reduce((sum, [, those]) => sum + those.length, 0);
  if (!rows && !main.childElementCount) main.append(el("p", { class: "dim" }, "Nothing fits. Choose less, or clear the search with Esc."));
  const isAll = rows === recording.exchanges.length;
  byId("found").textContent = isAll ? "" : `${plural(rows, "exchange")} in ${plural(found.length, "turn")}`;
  const isFew = found.length === 1 || (found.length <= 5 && (view.words || view.show !== "all"));
  if (isFew) openAll(true);
  // Few enough to show the words that were searched for where they stand.
  if (view.words && rows <= 4) for (const fold of main.querySelectorAll(".fold")) fold.open(true);
  byId("all").textContent = isFew ? "Close all turns" : "Open all turns";
}

function grouped(found) {
  const groups = new Map();
  for (const one of found) groups.set(one[0].session, [...(groups.get(one[0].session) || []), one]);
  return groups;
}

function openAll(wanted) {
  for (const card of document.querySelectorAll(".card")) if (card.open) card.open(wanted);
}

function choices(id, pairs) {
  byId(id).replaceChildren(...pairs.map(([value, words]) => el("option", { value: String(value) }, words)));
}

function turnChoices() {
  const those = recording.turns.map((turn, number) => [turn, number]).filter(([turn]) => view.session < 0 || turn.session === view.session);
  choices("turn", [[-1, `all ${count(those.length)}`], ...those.map(([turn, number]) => [number, `${moment(turn.start)}  ${titleOf(turn).slice(0, 60)}`])]);
}

function heading() {
  const rows = recording.exchanges;
  const sum = totals(rows);
  byId("source").textContent = `${recording.source} · ${moment(0, true)} · ${took(recording.end)} · ${plural(recording.events, "event")}`;
  const total = (name, words, more = "") =>
    byId("totals").append(el("div", {}, el("dt", {}, name), el("dd", {}, words, more ? el("small", {}, more) : "")));
  total("Turns", count(recording.turns.filter((turn) => turn.name).length), recording.sessions.length > 1 ? `${recording.sessions.length} sessions` : "");
  total("Exchanges", count(rows.length), sum.bad ? `${sum.bad} failed` : "none failed");
  total("Tokens in", count(sum.into), share(sum));
  total("Tokens out", count(sum.out));
  total("Woven", count(sum.woven), sum.woven ? "tokens, over all requests" : "nothing");
  if (recording.left) {
    byId("left").textContent = `${plural(recording.left, "exchange")} are left out: choose a session with --session.`;
    byId("left").hidden = false;
  }
  const legend = Object.entries({ ...STATES, tool: "a tool runs at the client" });
  byId("legend").append(...legend.map(([state, words]) => el("li", {}, el("i", { class: `bar s-${state}` }), el("b", {}, `${state} `), words)));
}

function step(by) {
  const stops = [...document.querySelectorAll("button.turn, button.row, button.more")].filter((it) => it.offsetParent);
  const at = stops.indexOf(document.activeElement);
  const next = stops[Math.max(0, Math.min(stops.length - 1, at + by))];
  if (next) next.focus();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    const fold = event.target.closest(".fold, .card");
    if (isTyping) byId("search").value = "";
    if (isTyping) setWords("");
    else if (fold && fold.open) fold.open(false);
    else if (view.words) setWords((byId("search").value = ""));
    if (fold && !isTyping) fold.querySelector("button").focus();
  } else if (!isTyping && event.key === "/") byId("search").focus();
  else if (!isTyping && event.key === "j") step(1);
  else if (!isTyping && event.key === "k") step(-1);
  else return;
  event.preventDefault();
}

function setWords(words) {
  view.words = words.trim().toLowerCase();
  draw();
}

// What goes by this id, drawn first if that takes more pieces.
function drawn(id, within) {
  for (const more of within.querySelectorAll(".more")) while (!byId(id) && more.isConnected) more.click();
  return byId(id);
}

// #exchange-12 opens that one, #turn-3 that turn, #find=words searches.
function follow() {
  const name = decodeURIComponent(location.hash.slice(1));
  if (name.startsWith("find=") && view.words !== name.slice(5).trim().toLowerCase()) {
    byId("search").value = name.slice(5);
    setWords(name.slice(5));
  }
  const row = /^exchange-\d+$/.test(name) ? recording.exchanges[Number(name.slice(9)) - 1] : null;
  const turn = row ? row.turn + 1 : /^turn-\d+$/.test(name) ? Number(name.slice(5)) : 0;
  const card = turn ? drawn(`turn-${turn}`, byId("turns")) : null;
  if (!card) return;
  card.open(true);
  const fold = row ? drawn(name, card) : null;
  if (fold) fold.open(true);
  (fold || card).scrollIntoView();
  (fold || card).querySelector("button").focus();
}

function begin() {
  heading();
  choices("session", [[-1, `all ${count(recording.sessions.length)}`], ...recording.sessions.map((it, number) => [number, it.id || "no session"])]);
  choices("show", Object.entries(SHOWN).map(([value, [words]]) => [value, words]));
  turnChoices();
  byId("session").addEventListener("change", (event) => {
    Object.assign(view, { session: Number(event.target.value), turn: -1 });
    turnChoices();
    draw();
  });
  byId("turn").addEventListener("change", (event) => draw((view.turn = Number(event.target.value))));
  byId("show").addEventListener("change", (event) => draw((view.show = event.target.value)));
  let later = 0;
  byId("search").addEventListener("input", (event) => {
    clearTimeout(later);
    later = setTimeout(() => setWords(event.target.value), 200);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("all").addEventListener("click", (event) => {
    const wanted = event.target.textContent.startsWith("Open");
    openAll(wanted);
    event.target.textContent = wanted ? "Close all turns" : "Open all turns";
  });
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", follow);
  draw();
  follow();
  // Once more when the browser, too, has looked for what the address names, and taken the focus away.
  addEventListener("load", () => setTimeout(follow));
}

begin();
