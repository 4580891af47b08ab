// c = a * b in float32: a [m, k] and b [k, n] of bf16, k a multiple of 32, n of 8. A block of 128
// threads makes a tile of 64 x 64 from panels of 32, the next of which is copied while one is used.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned short u16;

static __device__ u32 place(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// Of the 16 bytes the first `size` are read.
static __device__ void copy(void *to, const void *from, int size) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place(to)), "l"(from),
               "r"(size)
               : "memory");
}
static __device__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
static __device__ void wait_but_one() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }

static __device__ void load_rows(u32 (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(place(row))
               : "memory");
}
static __device__ void load_columns(u32 (&r)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(place(row))
               : "memory");
}
static __device__ void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
               "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

extern "C" __global__ void gemm(const u16 *a, const u16 *b, float *c, int m, int n, int k) {
  __shared__ __align__(16) u8 a_tile[2][4096], b_tile[2][4096];
  const int thread = (int)threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int first_row = (int)blockIdx.y * 64, first_col = (int)blockIdx.x * 64;
  const int warp_row = (warp >> 1) * 32, warp_col = (warp & 1) * 32;
  const int panels = k / 32;

  // Pieces of 16 bytes: four in a row of A's tile, eight in one of B's; their places are swizzled.
  auto fill = [&](int panel, int stage) {
    for (int piece = thread; piece < 256; piece += 128) {
      int row = piece >> 2, col = piece & 3;
      int inside = first_row + row < m ? 16 : 0;
      copy(&a_tile[stage][row * 64 + (col ^ ((row >> 1) & 3)) * 16],
           &a[inside ? (first_row + row) * k + panel * 32 + col * 8 : 0], inside);
    }
    for (int piece = thread; piece < 256; piece += 128) {
      int row = piece >> 3, col = piece & 7;
      int covered = first_col + col * 8 < n ? 16 : 0;
      copy(&b_tile[stage][row * 128 + (col ^ (row & 7)) * 16],
           &b[covered ? (panel * 32 + row) * n + first_col + col * 8 : 0], covered);
    }
  };

  float sums[2][4][4];
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int e = 0; e < 4; ++e)
        sums[i][j][e] = 0;

  fill(0, 0);
  commit();
#pragma unroll 1
  for (int panel = 0; panel < panels; ++panel) {
    if (panel + 1 < panels)
      fill(panel + 1, (panel + 1) & 1);
    commit();
    wait_but_one();
    __syncthreads(); // the panel is there for all
    const int stage = panel & 1;
    for (int step = 0; step < 2; ++step) {
      u32 rows[2][4], columns[2][4];
      for (int i = 0; i < 2; ++i) {
        int row = warp_row + i * 16 + (lane & 15), piece = step * 2 + (lane >> 4);
        load_rows(rows[i], &a_tile[stage][row * 64 + (piece ^ ((row >> 1) & 3)) * 16]);
      }
      for (int j = 0; j < 2; ++j) {
        int row = step * 16 + (lane & 15), piece = warp_col / 8 + j * 2 + (lane >> 4);
        load_columns(columns[j], &b_tile[stage][row * 128 + (piece ^ (row & 7)) * 16]);
      }
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j)
          mma(sums[i][j], rows[i], columns[j / 2][j % 2 * 2], columns[j / 2][j % 2 * 2 + 1]);
    }
    __syncthreads(); // nobody reads the stage any more
  }

  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int half = 0; half < 2; ++half) {
        int row = first_row + warp_row + i * 16 + half * 8 + (lane >> 2);
        int col = first_col + warp_col + j * 8 + (lane & 3) * 2;
        if (row < m && col < n)
          *(float2 *)&c[row * n + col] = make_float2(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
      }
}
