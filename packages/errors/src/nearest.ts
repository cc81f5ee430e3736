/**
 * The name that was probably meant: the one with the fewest edits, if there are few for its length.
 * Upper and lower case, `-` and `_` do not count.
 */
export function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[-_]/g, '');
  const given = plain(name.slice(0, 64));
  let best: string | undefined;
  let fewest = Infinity;
  for (const candidate of names) {
    const wanted = plain(candidate);
    const edits = editDistance(given, wanted);
    const longest = Math.max(given.length, wanted.length);
    if (edits < fewest && edits <= Math.max(1, Math.floor(longest / 3)) && edits < longest) {
      best = candidate;
      fewest = edits;
    }
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1] + Number(a[i - 1] !== b[j - 1]);
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], beforeLast[j - 2] + 1);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length];
}
