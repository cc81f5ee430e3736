import { give, type GoldenRunner, take } from './golden.ts';

export const ropeRunners: Record<string, GoldenRunner> = {
  rope: (k, golden) => {
    const { interleaved, theta, rotary_dim, position_offset, length } = golden.config;
    const options = {
      convention: interleaved ? ('interleaved' as const) : ('half' as const),
      base: theta,
      rotaryDim: rotary_dim,
      offset: position_offset,
    };
    const pairs = rotary_dim / 2;

    // (1, 0) turns into (cos, sin).
    const probe = new Float32Array(length * rotary_dim);
    const first = (t: number, i: number) => t * rotary_dim + (interleaved ? 2 * i : i);
    for (let t = 0; t < length; t++) for (let i = 0; i < pairs; i++) probe[first(t, i)] = 1;
    const turned = take(k.rope({ x: k.tensor(probe, [1, length, 1, rotary_dim]), ...options }));
    const table = (shift: number) =>
      Float32Array.from({ length: length * pairs }, (_, j) => {
        return turned[first(Math.floor(j / pairs), j % pairs) + shift];
      });

    return {
      'out.y': take(k.rope({ x: give(k, golden, 'in.x')!, ...options })),
      'out.cos': table(0),
      'out.sin': table(interleaved ? 1 : pairs),
      'grad.x': take(k.ropeBackward({ dy: give(k, golden, 'up.y')!, ...options }).dx),
    };
  },
};
