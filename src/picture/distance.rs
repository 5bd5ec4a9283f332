//! Exact Euclidean distance transform in linear time.
//!
//! Source: Meijster, Roerdink and Hesselink, "A general algorithm for computing distance transforms in linear time"
//! (2000): distances along each column, then for each row the lower envelope of the parabolas that they span. Integer
//! arithmetic only.

/// Calls back with each row's squared distances, in pixels², from pixel centers to the nearest marked pixel's center.
///
/// `is_marked` takes a row-major pixel index. Distances beyond `reach` are reported as `(reach + 1)²`, which keeps the
/// numbers small; `reach` is at most 65533.
pub fn for_each_row(
    width: usize,
    height: usize,
    reach: u16,
    is_marked: impl Fn(usize) -> bool,
    mut tell: impl FnMut(usize, &[u32]),
) {
    let cap = reach + 1;
    let columns = along_columns(width, height, cap, is_marked);
    let mut envelope = Vec::with_capacity(width);
    let mut squares = vec![0; width];
    for (y, along) in columns.chunks_exact(width).enumerate() {
        if along.iter().all(|it| *it == along[0]) {
            squares.fill(square(along[0]));
        } else {
            along_row(along, &mut envelope, &mut squares);
        }
        tell(y, &squares);
    }
}

/// Each pixel's distance to the nearest marked pixel of its column, at most `cap`.
fn along_columns(
    width: usize,
    height: usize,
    cap: u16,
    is_marked: impl Fn(usize) -> bool,
) -> Vec<u16> {
    let mut found = vec![cap; width * height];
    let mut above = vec![cap; width];
    for (y, row) in found.chunks_exact_mut(width).enumerate() {
        for (x, (here, above)) in row.iter_mut().zip(&mut above).enumerate() {
            *above = if is_marked(y * width + x) { 0 } else { cap.min(*above + 1) };
            *here = *above;
        }
    }
    let mut below = vec![cap; width];
    for row in found.chunks_exact_mut(width).rev() {
        for (here, below) in row.iter_mut().zip(&mut below) {
            *below = (*here).min(*below + 1);
            *here = *below;
        }
    }
    found
}

/// One parabola of the lower envelope: the column of its vertex, and the first column where it is the lowest.
struct Parabola {
    bottom: usize,
    first: usize,
}

fn along_row(along: &[u16], envelope: &mut Vec<Parabola>, squares: &mut [u32]) {
    let at = |x: usize, bottom: usize| {
        (x.abs_diff(bottom) as u64).pow(2) + u64::from(square(along[bottom]))
    };
    envelope.clear();
    for bottom in 0..along.len() {
        while envelope.last().is_some_and(|it| at(it.first, it.bottom) > at(it.first, bottom)) {
            envelope.pop();
        }
        let first = match envelope.last() {
            None => 0,
            Some(last) => 1 + crossing(along, last.bottom, bottom),
        };
        if first < along.len() {
            envelope.push(Parabola { bottom, first });
        }
    }
    for x in (0..along.len()).rev() {
        let lowest = envelope.last().expect("the first parabola covers the first pixel");
        squares[x] = at(x, lowest.bottom) as u32; // at most cap², of the pixel's own parabola
        if lowest.first == x {
            envelope.pop();
        }
    }
}

/// The last column where the parabola at `left` is not above the one at `right`, which is no lower at `left`'s first
/// column.
fn crossing(along: &[u16], left: usize, right: usize) -> usize {
    let rise = i64::from(square(along[right])) - i64::from(square(along[left]));
    let (left, right) = (left as i64, right as i64);
    ((right * right - left * left + rise) / (2 * (right - left))) as usize
}

fn square(it: u16) -> u32 {
    u32::from(it) * u32::from(it)
}
