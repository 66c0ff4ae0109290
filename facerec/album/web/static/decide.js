// What a user decides. Each is one step of the album, which `undo` takes back.

import { Refused, get, post } from "./api.js";
import { ask, askKept, askName, askPerson, tell } from "./dialogs.js";
import { called, count, element } from "./elements.js";

let last = null; // the step that Undo takes back
const own = new Set(); // ids of the steps made here
let changed = () => {};
const undoButton = document.getElementById("undo");

export function whenChanged(callback) {
  changed = callback;
}

export async function readState() {
  const state = await get("state");
  setLast(state.step);
  return state;
}

function setLast(step) {
  last = step;
  undoButton.disabled = !step;
  const label = step ? `Undo: ${step.command}` : "Nothing to undo";
  undoButton.setAttribute("aria-label", label);
  undoButton.title = label;
}

// Does one thing. Its step, or the one that it took back; `{ step: null }` if it changed nothing,
// null if it was refused, which is told.
async function act(path, values, told) {
  let done = null;
  try {
    const before = last?.id, answer = await post(path, values);
    setLast(answer.step);
    // What changed nothing, as confirming twice, is no step.
    const made = path !== "undo" && last && last.id !== before;
    if (made) own.add(last.id);
    done = { step: path === "undo" ? values.step : made ? last.id : null };
    tell(told(answer), made ? undo : null);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tell(error.message);
    if (error.status === 409) await readState();
  } finally {
    await changed(path, done);
  }
  return done;
}

export async function undo() {
  if (!last) return;
  const { id, command } = last;
  // What another program did, such as a grouping, is not taken back by a slip.
  if (!own.has(id) && !(await ask({
    title: "Take back an earlier step?", accept: "Undo",
    body: [element("p", {}, `${command} – it was not done on this page.`)],
  }))) return;
  await act("undo", { step: id }, (answer) => `Taken back: ${answer.undone}`);
}

export const confirmFaces = (faces, person) =>
  act("confirm", { faces, person: person.id }, () => `${count(faces.length, "face")} confirmed`);

export const confirmPerson = (person) =>
  act("confirm-all", { person: person.id }, () => `All faces of ${called(person)} confirmed`);

export const rejectFaces = (faces, person) =>
  act("reject", { faces, person: person.id },
    () => `${count(faces.length, "face")} not ${called(person)}`);

export const splitFaces = (faces) =>
  act("split", { faces }, (answer) => `${count(faces.length, "face is", "faces are")} now ${answer.person}`);

// Answers to a suggestion, which is about a face or about a whole group.
export const accept = ({ faces, group, person }) =>
  group === null
    ? act("confirm", { faces, person: person.id }, () => `Yes, ${called(person)}`)
    : act("merge", { people: [group], into: person.id }, () => `Yes, ${called(person)}`);

export const reject = ({ faces, group, person }) =>
  group === null
    ? act("reject", { faces, person: person.id }, () => `Not ${called(person)}`)
    : act("apart", { person: person.id, other: group }, () => `Not ${called(person)}`);

// Faces become somebody who is there, or a new person of that name.
export async function moveFaces(faces) {
  const title = `Who ${faces.length === 1 ? "is this face" : `are these ${faces.length} faces`}?`;
  const name = await askPerson(title, "Person", "Move");
  return name !== null
    && act("move", { faces, name }, (answer) => `${count(faces.length, "face")}: ${answer.person}`);
}

export async function namePerson(person) {
  const name = await askName(person);
  if (name === null || name === person.name) return false;
  const other = await findPerson(name);
  if (other && other.id !== person.id) return mergeAsked([person], other);
  return act("name", { person: person.id, name }, () => `${called(person)} is now ${name}`);
}

// The person of that name or id, as the command line understands it.
const findPerson = async (name) => (await get("who", { name })).person;

export async function mergeAsked(people, into) {
  const names = people.map(called).join(", ");
  const sure = await ask({
    title: `Merge into ${called(into)}?`,
    body: [element("p", {}, `${names} (${count(total(people), "face")}) and ${called(into)} `
      + `(${count(into.faces, "face")}) become one person, ${called(into)}.`)],
    accept: "Merge",
  });
  return sure !== null && merge(people, into);
}

const total = (people) => people.reduce((sum, person) => sum + person.faces, 0);

const merge = (people, into) =>
  act("merge", { people: people.map((person) => person.id), into: into.id },
    () => `${people.map(called).join(", ")} merged into ${called(into)}`);

export async function mergeSelected(people) {
  const kept = await askKept(people);
  return kept !== null && merge(people.filter((person) => person.id !== kept.id), kept);
}

// One person into another that is asked for by name.
export async function mergeNamed(person) {
  const name = await askPerson(`Merge ${called(person)} into whom?`, "Name or person-0007", "Merge");
  if (name === null) return false;
  const into = await findPerson(name);
  if (!into || into.id === person.id) {
    tell(into ? `${called(person)} is that person already` : `There is nobody called ${name}`);
    return false;
  }
  return merge([person], into);
}
