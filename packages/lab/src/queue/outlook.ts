/** How fast pieces are done, and when all will be. */

/** What is done longer ago than this says little of how fast it goes now: workers come and go. */
const WINDOW_MS = 60_000;
const LEAST_MS = 2000;

export interface Outlook {
  /** @param done  pieces, and parts of those at work, of `total` @param now  in milliseconds */
  note(done: number, now: number): void;
  /** Pieces per second; undefined before anything can be said. */
  rate(): number | undefined;
  /** Until all are done. */
  secondsLeft(): number | undefined;
}

export function outlookOf(total: number): Outlook {
  const noted: { done: number; at: number }[] = [];
  const rate = () => {
    const [first] = noted;
    const last = noted.at(-1);
    if (first === undefined || last === undefined || last.at - first.at < LEAST_MS) return undefined;
    return Math.max(0, ((last.done - first.done) / (last.at - first.at)) * 1000);
  };
  return {
    rate,
    note(done, now) {
      const last = noted.at(-1);
      // A few hundred at most are kept.
      if (last !== undefined && now - last.at < 250) return;
      noted.push({ done, at: now });
      while (noted.length > 2 && now - noted[1].at > WINDOW_MS) noted.shift();
    },
    secondsLeft() {
      const perSecond = rate();
      const last = noted.at(-1);
      if (perSecond === undefined || last === undefined || perSecond <= 0) return undefined;
      return Math.max(0, total - last.done) / perSecond;
    },
  };
}

/** `45 s`, `12 min`, `3.5 h`, `4 days`: as exactly as such a guess can be. */
export function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** `12 per s`, `0.50 per s`, `3.2 per min`, `1.5 per h`. */
export function rateText(perSecond: number): string {
  const digits = (value: number) => (value >= 10 ? value.toFixed(0) : value.toPrecision(2));
  if (perSecond === 0) return '0 per s';
  if (perSecond >= 0.2) return `${digits(perSecond)} per s`;
  if (perSecond * 60 >= 0.2) return `${digits(perSecond * 60)} per min`;
  return `${digits(perSecond * 3600)} per h`;
}
