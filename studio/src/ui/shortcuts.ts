// Keys that work wherever no text is typed.
import type { Studio } from "../edit/studio.svelte";
import type { Scene } from "../stage/scene";
import type { Tool, ViewState } from "./view.svelte";

export interface Reach {
  studio: Studio;
  view: ViewState;
  scene: Scene | undefined;
  pick: (tool: Tool) => void;
}

const TOOLS: Record<string, Tool> = { v: "choose", b: "brush", e: "eraser", r: "box", l: "lasso", h: "pan" };

/** Whether the keys of an element are its own. */
const types = (target: EventTarget | null) =>
  target instanceof Element && (target.matches("input:not([type=range]), textarea, select") || target.closest("[role=dialog]") !== null);

export function shortcut(event: KeyboardEvent, { studio, view, scene, pick }: Reach): void {
  const { draft } = studio;
  if (event.defaultPrevented || !draft || types(event.target)) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) draft.redo();
    else draft.undo();
    return;
  }
  if (event.altKey) return;
  const tool = TOOLS[key];
  const grow = Math.max(1, Math.round(Math.min(draft.width, draft.height) * 0.01));
  if (tool) pick(tool);
  else if (key === "[") view.size = Math.max(0.005, view.size / 1.2);
  else if (key === "]") view.size = Math.min(0.5, view.size * 1.2);
  else if (key === "i") draft.change((it) => it.invert());
  else if (key === "delete" || key === "backspace") draft.change((it) => it.clear());
  else if (key === "+" || key === "=") draft.change((it) => it.grow(grow));
  else if (key === "-") draft.change((it) => it.grow(-grow));
  else if (key === "m") view.maskStyle = view.maskStyle === "tint" ? "outline" : "tint";
  else if (key === "0") scene?.fit();
  else if (key === "pageup") scene?.zoom(1.4);
  else if (key === "pagedown") scene?.zoom(1 / 1.4);
  else return;
  event.preventDefault();
}
