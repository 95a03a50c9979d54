"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
/* Megabytes at the end of the file: the page is complete, and may be painted, before they are there. */
const pictures = new Promise((resolve) =>
  document.addEventListener("DOMContentLoaded", () => resolve(JSON.parse(byId("pictures").textContent))));

/* An element with attributes and children; of SVG if `space` is given. */
function make(name, attributes = {}, children = [], space = null) {
  const element = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/* Radio buttons in `parent`; `choose` is called with the value of the one that was chosen. */
function radios(parent, name, choices, chosen, choose) {
  for (const [value, label] of choices) {
    const input = make("input", { type: "radio", name, value });
    input.checked = value === chosen;
    input.addEventListener("change", () => choose(value));
    parent.append(make("label", {}, [input, label]));
  }
}

const text = (content) => make("span", {}, [content]);
