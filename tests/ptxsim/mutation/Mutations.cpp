#include "tests/ptxsim/mutation/Mutations.h"

namespace ptxsim {
namespace {

using enum ReportKind;
constexpr std::nullopt_t Numbers = std::nullopt;

const std::vector<Mutation> all = {
    // Barriers.
    {"GemmUsesAPanelBeforeTheBarrier", "gemm.cu", "__syncthreads(); // the panel is there for all",
     "", SharedRace},
    {"GemmFillsAPanelThatIsStillRead", "gemm.cu",
     "__syncthreads(); // nobody reads the stage any more", "", SharedRace},
    {"GemmHasABarrierForHalfAWarp", "gemm.cu",
     "__syncthreads(); // nobody reads the stage any more", "if (lane < 16) __syncthreads();",
     DivergentSync},
    {"SumReadsPartsBeforeTheBarrier", "sum.cu", "__syncthreads(); // all warps' sums are there", "",
     SharedRace},
    {"SumReadsSharesBeforeTheBarrier", "sum.cu", "__syncthreads(); // `kept` is whole", "",
     SharedRace},
    {"SumHasABarrierForSomeWarps", "sum.cu", "__syncthreads(); // `kept` is whole",
     "if (threadIdx.x < 64) __syncthreads();", SharedRace},
    {"SumHasABarrierForSomeLanes", "sum.cu", "__syncthreads(); // `kept` is whole",
     "if (threadIdx.x < 16) __syncthreads();", DivergentSync},
    {"SumUsesItsScratchAgainTooEarly", "sum.cu", "over_block(mine, shared)",
     "over_block(over_block(mine, shared) / 128, shared)", SharedRace},
    {"ScaleReadsFactorsBeforeTheBarrier", "scale.cu", "__syncthreads();", "", SharedRace},
    {"ScaleWaitsForAWarpThatNeverComes", "scale.cu", "__syncthreads();",
     "__syncthreads(); if (thread < 32) asm volatile(\"bar.sync 1, 64;\" ::: \"memory\");",
     Deadlock},
    {"ScaleSendsThreadsHomeTooEarly", "scale.cu", "if (row >= rows)",
     "if (row >= rows || thread >= 60)", DivergentSync},

    // Copies under way.
    {"GemmWaitsForOneGroupTooFew", "gemm.cu", "cp.async.wait_group 1", "cp.async.wait_group 2",
     PendingCopy},
    {"GemmDoesNotWait", "gemm.cu", "    wait_but_one();\n", "", PendingCopy},
    {"GemmDoesNotCommit", "gemm.cu", "    commit();\n    wait_but_one();\n",
     "    wait_but_one();\n", PendingCopy},
    {"GemmCommitsBeforeTheCopies", "gemm.cu", "  fill(0, 0);\n  commit();\n",
     "  commit();\n  fill(0, 0);\n", PendingCopy},
    {"GemmFillsOneStageOnly", "gemm.cu", "fill(panel + 1, (panel + 1) & 1)", "fill(panel + 1, 0)",
     SharedRace},
    {"GemmUsesTheOtherStage", "gemm.cu", "stage = panel & 1", "stage = (panel + 1) & 1",
     PendingCopy},
    {"GemmCopiesHalfAPanel", "gemm.cu", "piece < 256; piece += 128) {\n      int row = piece >> 2",
     "piece < 128; piece += 128) {\n      int row = piece >> 2", UninitialisedRead},
    {"GemmCopiesHalfOfEachPiece", "gemm.cu", "< n ? 16 : 0", "< n ? 8 : 0", Numbers},
    {"GemmCopiesToAnOddPlace", "gemm.cu", "[row * 64 + (col ^", "[row * 64 + 8 + (col ^",
     Misaligned},
    {"GemmCopiesFromAnOddPlace", "gemm.cu", "panel * 32 + col * 8 : 0",
     "panel * 32 + col * 8 + 1 : 0", Misaligned},

    // Bounds and loops.
    {"GemmCopiesAPanelTooMany", "gemm.cu", "if (panel + 1 < panels)", "if (panel < panels)",
     OutOfBounds},
    {"GemmMultipliesAPanelTooFew", "gemm.cu", "panels = k / 32", "panels = k / 32 - 1", Numbers},
    {"GemmCopiesRowsThatAreNotThere", "gemm.cu", "first_row + row < m ? 16 : 0", "16", OutOfBounds},
    {"GemmCopiesColumnsThatAreNotThere", "gemm.cu", "first_col + col * 8 < n ? 16 : 0", "16",
     OutOfBounds},
    {"GemmStoresRowsThatAreNotThere", "gemm.cu", "if (row < m && col < n)", "if (col < n)",
     OutOfBounds},
    {"GemmStoresColumnsThatAreNotThere", "gemm.cu", "if (row < m && col < n)", "if (row < m)",
     GlobalRace},
    {"GemmHasTooSmallATile", "gemm.cu", "b_tile[2][4096]", "b_tile[2][2048]", OutOfBounds},
    {"SumReadsOneTooMany", "sum.cu", "at < n;", "at <= n;", OutOfBounds},
    {"SumReadsAPartTooMany", "sum.cu", "(int)threadIdx.x < blocks", "(int)threadIdx.x <= blocks",
     OutOfBounds},
    {"SumAddsSomeTwice", "sum.cu", "at += (int)gridDim.x * 128", "at += (int)gridDim.x * 64",
     Numbers},
    {"SumReadsBehindItsScratch", "sum.cu", "+ shared[3]", "+ shared[4]", OutOfBounds},
    {"ScaleHasABlockTooMany", "scale.cu", "row >= rows", "row > rows", OutOfBounds},
    {"ScaleReadsFactorsThatAreNotThere", "scale.cu", "at < n ? scale[at] : 0", "scale[at]",
     OutOfBounds},
    {"ScaleReadsBehindItsFactors", "scale.cu", "factors[at + e]", "factors[at + e + 1]",
     OutOfBounds},
    {"ScaleNeverEnds", "scale.cu", "at += 256", "at += 0", Endless},
    {"ScaleTakesTheWrongStride", "scale.cu", "&x[row * stride + at]", "&x[row * n + at]",
     Misaligned},

    // What nobody wrote.
    {"ScaleReadsPaddingByFours", "scale.cu", "at + 4 <= n", "at < n", UninitialisedRead},
    {"ScaleReadsPaddingByOne", "scale.cu", "at + e < n ?", "at + e <= n ?", UninitialisedRead},
    {"ScaleLeavesFactorsOut", "scale.cu", "at < stride; at += 64", "at < n; at += 64",
     UninitialisedRead},
    {"SumLeavesAPartOut", "sum.cu", "    part[blockIdx.x] = sum;",
     "    if (blockIdx.x != 2) part[blockIdx.x] = sum;", UninitialisedRead},
    {"GemmBeginsWithAnything", "gemm.cu", "sums[i][j][e] = 0;", ";", UninitialisedRegister},

    // Two that write one word.
    {"GemmTilesOverlap", "gemm.cu", "first_col = (int)blockIdx.x * 64",
     "first_col = (int)blockIdx.x * 32", GlobalRace},
    {"GemmRowsOverlapInTheTile", "gemm.cu", "[row * 64 + (col ^", "[row * 48 + (col ^", SharedRace},
    {"SumWarpsShareAWord", "sum.cu", "shared[warp] = value", "shared[warp / 2] = value",
     SharedRace},
    {"SumLanesShareAWord", "sum.cu", "kept[threadIdx.x] = mine", "kept[threadIdx.x / 2] = mine",
     StoreConflict},
    {"SumBlocksShareAWord", "sum.cu", "part[blockIdx.x] = sum", "part[blockIdx.x / 2] = sum",
     GlobalRace},
    {"ScaleBlocksShareARow", "scale.cu", "&y[row * stride + at]", "&y[(row & 1) * stride + at]",
     GlobalRace},

    // Lanes.
    {"SumForgetsALaneInTheMask", "sum.cu", "0xffffffffu", "0x7fffffffu", DivergentSync},
    {"SumShufflesInABranch", "sum.cu", "    value += __shfl",
     "    if (threadIdx.x & 1) value += __shfl", DivergentSync},
    {"SumStopsAStepTooEarly", "sum.cu", "by > 0", "by > 1", Numbers},
    {"GemmMultipliesWithHalfAWarp", "gemm.cu", "          mma(sums",
     "          if (lane < 16) mma(sums", DivergentSync},

    // Fragments.
    {"GemmDoesNotTransposeB", "gemm.cu", "x4.trans.shared", "x4.shared", Numbers},
    {"GemmTransposesA", "gemm.cu", "x4.shared", "x4.trans.shared", Numbers},
    {"GemmSwapsTheHalvesOfB", "gemm.cu", "\"r\"(b0), \"r\"(b1)", "\"r\"(b1), \"r\"(b0)", Numbers},
    {"GemmSwapsTheQuartersOfA", "gemm.cu", "\"r\"(a[1]), \"r\"(a[2])", "\"r\"(a[2]), \"r\"(a[1])",
     Numbers},
    {"GemmForgetsTheSwizzle", "gemm.cu", "(piece ^ ((row >> 1) & 3)) * 16", "piece * 16", Numbers},
    {"GemmTakesEightRowsTwice", "gemm.cu", "i * 16 + (lane & 15)", "i * 16 + (lane & 7)", Numbers},
    {"GemmStoresEightRowsTwice", "gemm.cu", "half * 8 + (lane >> 2)", "(lane >> 2)", Numbers},
};

} // namespace

const std::vector<Mutation> &mutations() { return all; }

} // namespace ptxsim
