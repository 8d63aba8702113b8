"use strict";

const recording = JSON.parse(document.getElementById("recording").textContent);
const view = { session: -1, turn: -1, show: "all", words: "" };
const AT_ONCE = 200; // turns, or rows of a turn, that are drawn before one asks for more

// An element. Children that are strings become text nodes: nothing recorded is ever read as markup.
function el(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (key === "place") Object.assign(made.style, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const byId = (id) => document.getElementById(id);
const textOf = (place) => (place < 0 ? "" : recording.texts[place][0]);
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

function count(number) {
  if (number === null) return "?";
  if (number < 10000) return number.toLocaleString("en");
  return number < 1e6 ? `${(number / 1e3).toFixed(1)}k` : `${(number / 1e6).toFixed(2)}M`;
}

function bytes(number) {
  if (number < 1000) return `${number} B`;
  return number < 1e6 ? `${(number / 1e3).toFixed(1)} KB` : `${(number / 1e6).toFixed(2)} MB`;
}

function took(micros) {
  const seconds = Math.max(0, micros) / 1e6;
  if (seconds < 0.0095) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1e3)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return seconds < 3600
    ? `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`
    : `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function moment(micros, withDay = false) {
  const date = new Date(recording.start + micros / 1e3);
  if (Number.isNaN(date.getTime())) return "?";
  const two = (number) => String(number).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return withDay ? `${day} ${time}` : time;
}

const chip = (words, kind = "", title = null) => el("span", { class: `chip ${kind}`, title }, words);

// The text with what is searched for marked in it.
function marked(text) {
  const wanted = view.words;
  if (!wanted) return [text];
  const low = text.toLowerCase();
  if (low.length !== text.length) return [text]; // places would not fit
  const parts = [];
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), el("mark", {}, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...parts, text.slice(from)];
}

// A recorded text as it was written; a long one scrolls, and one that was cut says so.
function prose(place, label) {
  if (place < 0) return el("p", { class: "dim none" }, "(no text)");
  const [text, whole] = recording.texts[place];
  const isLong = text.length > 1200 || text.split("\n").length > 14;
  const options = isLong ? { class: "text long", tabindex: "0", role: "region", "aria-label": label } : { class: "text" };
  const shown = el("pre", options, ...marked(text));
  return whole
    ? el("div", {}, shown, el("p", { class: "dim note" }, `cut here: ${count(whole)} characters in all`))
    : shown;
}

// Draws the first of many things, and a button for more of them.
function inPieces(into, things, draw, noun) {
  let drawn = 0;
  const more = el("button", { type: "button", class: "more" });
  const next = () => {
    more.remove();
    for (const thing of things.slice(drawn, drawn + AT_ONCE)) into.append(draw(thing));
    drawn = Math.min(drawn + AT_ONCE, things.length);
    if (drawn === things.length) return;
    more.textContent = `Show more: ${plural(things.length - drawn, noun)} left`;
    into.append(more);
  };
  more.addEventListener("click", next);
  next();
}
