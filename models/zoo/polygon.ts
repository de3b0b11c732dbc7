/** Polygons, of which the demo's pictures are drawn. */

/** x to the right and y down, pixels. */
export type Vertex = readonly [number, number];

/** Is the point inside of the polygon? */
export function inside(x: number, y: number, points: readonly Vertex[]): boolean {
  let within = false;
  points.forEach(([ax, ay], i) => {
    const [bx, by] = points[(i + 1) % points.length]!;
    if (ay > y !== by > y && x < ax + ((y - ay) * (bx - ax)) / (by - ay)) within = !within;
  });
  return within;
}

/** Places of a pixel that are looked at, in each direction: soft edges. */
const SAMPLES = 4;

/** Calls with places that are spread evenly over a pixel, and returns how many there are. */
export function overPixel(x: number, y: number, look: (x: number, y: number) => void): number {
  for (let s = 0; s < SAMPLES * SAMPLES; s++) {
    look(x + ((s % SAMPLES) + 0.5) / SAMPLES, y + (Math.floor(s / SAMPLES) + 0.5) / SAMPLES);
  }
  return SAMPLES ** 2;
}
