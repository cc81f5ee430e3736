/** Runs in a page, and tells its server what the browser computes. */
import { report } from './report.ts';

const answer = await report().catch((error: unknown) => ({ error: String(error) }));
await fetch('/answer', { method: 'POST', body: JSON.stringify(answer) });
