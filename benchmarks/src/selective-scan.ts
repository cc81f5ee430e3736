import type { Kernels } from '@freelunch/kernels';
import { type Benchmark, filled, values } from './benchmark.js';

const shapes = [
  { dInner: 256, dState: 16, seqLen: 512 },
  { dInner: 1536, dState: 16, seqLen: 1024 },
  { dInner: 256, dState: 64, seqLen: 1024 },
];

interface Size {
  dInner: number;
  dState: number;
  seqLen: number;
}

/** Everything that a Mamba block gives: softplus and bias, skip and gate. */
function inputs(k: Kernels, { dInner, dState, seqLen }: Size) {
  return {
    u: filled(k, [1, seqLen, dInner]),
    delta: filled(k, [1, seqLen, dInner], -3, 0),
    A: filled(k, [dInner, dState], -16, -0.5),
    B: filled(k, [1, seqLen, dState]),
    C: filled(k, [1, seqLen, dState]),
    D: filled(k, [dInner]),
    z: filled(k, [1, seqLen, dInner]),
    deltaBias: filled(k, [dInner]),
    deltaSoftplus: true,
  };
}

const softplus = (x: number) => Math.log1p(Math.exp(x));

/** `seqLen` steps over Float32Arrays, as one would write them. */
function plainScan({ dInner, dState, seqLen }: Size): () => void {
  const u = values(seqLen * dInner);
  const delta = values(seqLen * dInner, -3, 0);
  const A = values(dInner * dState, -16, -0.5);
  const B = values(seqLen * dState);
  const C = values(seqLen * dState);
  const D = values(dInner);
  const z = values(seqLen * dInner);
  const deltaBias = values(dInner);
  const h = new Float32Array(dInner * dState);
  const y = new Float32Array(seqLen * dInner);
  return () => {
    for (let t = 0; t < seqLen; t++) {
      for (let d = 0; d < dInner; d++) {
        const i = t * dInner + d;
        const step = softplus(delta[i] + deltaBias[d]);
        let sum = 0;
        for (let n = 0; n < dState; n++) {
          const j = d * dState + n;
          h[j] = Math.exp(step * A[j]) * h[j] + step * u[i] * B[t * dState + n];
          sum += C[t * dState + n] * h[j];
        }
        y[i] = ((sum + D[d] * u[i]) * z[i]) / (1 + Math.exp(-z[i]));
      }
    }
  };
}

/** The gradients of {@link plainScan}, with all states kept. */
function plainScanBackward(size: Size): () => void {
  const { dInner, dState, seqLen } = size;
  const u = values(seqLen * dInner);
  const raw = values(seqLen * dInner, -3, 0);
  const A = values(dInner * dState, -16, -0.5);
  const B = values(seqLen * dState);
  const C = values(seqLen * dState);
  const D = values(dInner);
  const z = values(seqLen * dInner);
  const deltaBias = values(dInner);
  const dy = values(seqLen * dInner);
  const states = new Float32Array((seqLen + 1) * dInner * dState);
  const [dA, dB, dC] = [A, B, C].map((x) => new Float32Array(x.length));
  const [du, ddelta, dz] = [u, raw, z].map((x) => new Float32Array(x.length));
  const [dD, dDeltaBias] = [D, deltaBias].map((x) => new Float32Array(x.length));
  const dh = new Float32Array(dInner * dState);
  const stateSize = dInner * dState;
  return () => {
    for (let t = 0; t < seqLen; t++) {
      for (let d = 0; d < dInner; d++) {
        const step = softplus(raw[t * dInner + d] + deltaBias[d]);
        for (let n = 0; n < dState; n++) {
          const j = d * dState + n;
          states[(t + 1) * stateSize + j] =
            Math.exp(step * A[j]) * states[t * stateSize + j] + step * u[t * dInner + d] * B[t * dState + n];
        }
      }
    }
    for (const gradient of [dA, dB, dC, dD, dDeltaBias, dh]) gradient.fill(0);
    for (let t = seqLen - 1; t >= 0; t--) {
      for (let d = 0; d < dInner; d++) {
        const i = t * dInner + d;
        const step = softplus(raw[i] + deltaBias[d]);
        const s = 1 / (1 + Math.exp(-z[i]));
        const gate = dy[i] * z[i] * s;
        let sum = D[d] * u[i];
        let fromInput = 0;
        let fromDecay = 0;
        for (let n = 0; n < dState; n++) {
          const j = d * dState + n;
          const row = t * dState + n;
          const after = states[(t + 1) * stateSize + j];
          sum += C[row] * after;
          const gradient = dh[j] + C[row] * gate;
          dC[row] += gate * after;
          dB[row] += gradient * step * u[i];
          fromInput += gradient * B[row];
          dh[j] = gradient * Math.exp(step * A[j]);
          const ofExponent = dh[j] * states[t * stateSize + j];
          fromDecay += ofExponent * A[j];
          dA[j] += ofExponent * step;
        }
        du[i] = step * fromInput + D[d] * gate;
        ddelta[i] = (fromDecay + u[i] * fromInput) / (1 + Math.exp(-raw[i] - deltaBias[d]));
        dz[i] = dy[i] * sum * s * (1 + z[i] * (1 - s));
        dD[d] += gate * u[i];
        dDeltaBias[d] += ddelta[i];
      }
    }
  };
}

export const selectiveScanBenchmarks: Benchmark[] = shapes.flatMap((size, index): Benchmark[] => {
  const { dInner, dState, seqLen } = size;
  const elements = dInner * dState * seqLen;
  const shape = `[D ${dInner}, N ${dState}, L ${seqLen}]`;
  const quick = index === 0;
  return [
    {
      op: 'selectiveScan',
      pass: 'forward',
      shape,
      quick,
      elements,
      prepare(k) {
        const args = inputs(k, size);
        return () => {
          const { y, lastState } = k.selectiveScan(args);
          y.dispose();
          lastState.dispose();
        };
      },
      plain: () => plainScan(size),
    },
    {
      op: 'selectiveScan',
      pass: 'backward',
      shape,
      quick,
      elements,
      prepare(k) {
        const args = { ...inputs(k, size), dy: filled(k, [1, seqLen, dInner]) };
        return () => {
          for (const gradient of Object.values(k.selectiveScanBackward(args))) gradient?.dispose();
        };
      },
      plain: () => plainScanBackward(size),
    },
    {
      op: 'selectiveScan',
      pass: 'step',
      shape: `[D ${dInner}, N ${dState}]`,
      quick,
      elements: dInner * dState,
      prepare(k) {
        const { A, D, deltaBias, deltaSoftplus } = inputs(k, { ...size, seqLen: 1 });
        const args = {
          state: filled(k, [1, dInner, dState]),
          u: filled(k, [1, dInner]),
          delta: filled(k, [1, dInner], -3, 0),
          A,
          B: filled(k, [1, dState]),
          C: filled(k, [1, dState]),
          D,
          z: filled(k, [1, dInner]),
          deltaBias,
          deltaSoftplus,
        };
        return () => k.selectiveScanStep(args).dispose();
      },
      plain: () => plainScan({ ...size, seqLen: 1 }),
    },
  ];
});
