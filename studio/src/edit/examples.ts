// Pictures that ship with the page: scenes drawn by this project, for its demo model.
export interface Example {
  file: string;
  title: string;
  instruction: string;
}

export const EXAMPLES: Example[] = [
  { file: "star.png", title: "A star by two houses", instruction: "make the red star yellow" },
  { file: "house.png", title: "Two houses", instruction: "turn the blue house into a tree" },
  { file: "heart.png", title: "Two hearts and a star", instruction: "make the black heart a red square" },
  { file: "triangle.png", title: "A tree at dusk", instruction: "remove the red triangle" },
];

export const addressOf = (example: Example) => new URL(`examples/${example.file}`, document.baseURI).href;
