/** A change of one place in a source: an edit of its text, and what it does to the lines it touches. */
export interface Mutant {
  file: string;
  line: number;
  start: number;
  end: number;
  replacement: string;
  rule: string;
  /** The outermost function or variable around it; '' if there is none. */
  in: string;
  was: string;
  becomes: string;
  /** Which of several like it in the same function, from 1. */
  occurrence: number;
}

export function mutantsOf(file: string, text: string): Mutant[];
export function applied(text: string, edit: Pick<Mutant, 'start' | 'end' | 'replacement'>): string;
export function keyOf(mutant: Pick<Mutant, 'in' | 'was' | 'becomes' | 'occurrence'>): string;
