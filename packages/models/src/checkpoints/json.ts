/** A value in an error message: JSON, cut where it gets long. */
export function shown(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = 'something nested too deeply';
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
