/** A point on the line that is searched: f and its slope (the gradient along the line) at step t. */
export interface LinePoint {
  t: number;
  f: number;
  slope: number;
}

export interface StrongWolfeOptions<P extends LinePoint> {
  /** t = 0; its slope is below 0. */
  start: P;
  /** First step to try. */
  t: number;
  /** Largest absolute entry of the direction. */
  directionSize: number;
  /** Bracket, in units of the parameters, below which the search ends. */
  toleranceChange: number;
  /** Points tried after the first, at most. */
  maxSteps: number;
  /** Sufficient decrease. */
  c1?: number;
  /** Curvature. */
  c2?: number;
}

/**
 * Line search by cubic interpolation for a step that fulfils the strong Wolfe conditions. The search yields a step to
 * try, with the points that it may still return, and is given the point there; so many searches can go on side by side.
 *
 * A point without a finite f counts as too far.
 *
 * @returns the best point, one of those given.
 *
 * Source: torch.optim.LBFGS (`_strong_wolfe`), after minFunc; Nocedal and Wright, Numerical Optimization, 3.5.
 */
export function* strongWolfe<P extends LinePoint>(
  options: StrongWolfeOptions<P>,
): Generator<{ t: number; held: P[] }, P, P> {
  const { start, directionSize, toleranceChange, maxSteps, c1 = 1e-4, c2 = 0.9 } = options;
  const tooHigh = ({ t, f }: P) => f > start.f + c1 * t * start.slope;
  const flat = ({ slope }: P) => Math.abs(slope) <= -c2 * start.slope;

  // Bracketing: steps grow until a minimum lies between the last two.
  let last = start;
  let point = yield { t: options.t, held: [start] };
  let steps = 0;
  for (; steps < maxSteps; steps++) {
    if (!isFinite(point.f) || tooHigh(point) || (steps > 1 && point.f >= last.f)) break;
    if (flat(point)) return point;
    if (point.slope >= 0) break;
    const t = cubicMinimum(last, point, [point.t + 0.01 * (point.t - last.t), point.t * 10]);
    const before = point;
    point = yield { t, held: [start, before] };
    last = before;
  }
  if (steps === maxSteps) return [start, point][lowerOf([start, point])]!;

  // Zoom: the bracket closes in on it.
  const bracket: [P, P] = [last, point];
  let low = lowerOf(bracket);
  let slow = false;
  for (; steps < maxSteps; steps++) {
    const [left, right] = [Math.min(bracket[0].t, bracket[1].t), Math.max(bracket[0].t, bracket[1].t)];
    if ((right - left) * directionSize < toleranceChange) break;
    let t = cubicMinimum(...bracket, [left, right]);
    // Near an end of the bracket twice, or beyond it: a tenth into it.
    const margin = 0.1 * (right - left);
    const near = Math.min(right - t, t - left) < margin;
    if (near && (slow || t >= right || t <= left)) {
      t = Math.abs(t - right) < Math.abs(t - left) ? right - margin : left + margin;
      slow = false;
    } else {
      slow = near;
    }
    point = yield { t, held: bracket };
    const high = low === 0 ? 1 : 0;
    if (!isFinite(point.f) || tooHigh(point) || point.f >= bracket[low].f) {
      bracket[high] = point;
      low = lowerOf(bracket);
    } else {
      if (flat(point)) return point;
      if (point.slope * (bracket[high].t - bracket[low].t) >= 0) bracket[high] = bracket[low];
      bracket[low] = point;
    }
  }
  return bracket[low];
}

/** The first where both are as low. */
function lowerOf([a, b]: [LinePoint, LinePoint]): 0 | 1 {
  return a.f <= b.f || !isFinite(b.f) ? 0 : 1;
}

/** Where the cubic through two points with their slopes is least, within bounds; their middle where it has no minimum. */
function cubicMinimum(a: LinePoint, b: LinePoint, [least, most]: [number, number]): number {
  const [left, right] = a.t <= b.t ? [a, b] : [b, a];
  const d1 = left.slope + right.slope - (3 * (left.f - right.f)) / (left.t - right.t);
  const square = d1 ** 2 - left.slope * right.slope;
  if (!(square >= 0)) return (least + most) / 2;
  const d2 = Math.sqrt(square);
  const t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2));
  return isNaN(t) ? (least + most) / 2 : Math.min(Math.max(t, least), most);
}
