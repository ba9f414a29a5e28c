// Durations in logarithmic buckets:
//   buckets      borders, order, width, the two ends
//   percentiles  of one value, of many, of two groups; never above the maximum
//   counts       copying, merging, clearing

#include "ledger/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace lockscope::ledger {
namespace {

// ---- buckets ----

TEST(HistogramTest, FourBucketsToAnOctave) {
  EXPECT_EQ(BucketOf(0), 0U);
  EXPECT_EQ(BucketOf(255), 0U);
  EXPECT_EQ(BucketOf(256), 1U);
  EXPECT_EQ(BucketOf(319), 1U);
  EXPECT_EQ(BucketOf(320), 2U);
  EXPECT_EQ(BucketOf(384), 3U);
  EXPECT_EQ(BucketOf(448), 4U);
  EXPECT_EQ(BucketOf(511), 4U);
  EXPECT_EQ(BucketOf(512), 5U);
  EXPECT_EQ(BucketOf(1024), 9U);
}

TEST(HistogramTest, EveryBucketBeginsWhereTheOneBeforeEnds) {
  for (std::size_t bucket = 1; bucket < kBuckets; ++bucket) {
    const Ticks start = BucketStart(bucket);
    EXPECT_EQ(BucketOf(start), bucket);
    EXPECT_EQ(BucketOf(start - 1), bucket - 1) << "below bucket " << bucket;
  }
}

TEST(HistogramTest, NoBucketIsWiderThanAQuarterOfItsStart) {
  for (std::size_t bucket = 1; bucket + 1 < kBuckets; ++bucket) {
    const Ticks start = BucketStart(bucket);
    EXPECT_LE((BucketStart(bucket + 1) - start) * 4, start) << "bucket " << bucket;
  }
}

TEST(HistogramTest, TheLastBucketTakesAllThatIsLonger) {
  const Ticks end = Ticks{1} << (kFirstOctave + kOctaves);
  EXPECT_EQ(BucketOf(end - 1), kBuckets - 2);
  EXPECT_EQ(BucketOf(end), kBuckets - 1);
  EXPECT_EQ(BucketOf(~Ticks{0}), kBuckets - 1);
}

// ---- percentiles ----

HistogramCounts Of(std::initializer_list<Ticks> durations) {
  Histogram histogram;
  for (const Ticks duration : durations) histogram.Record(duration);
  return histogram.Copy();
}

// The sum of its bucket's start and width was one too many for a number, and so 0.
TEST(HistogramTest, TheLongestDurationThereCanBeIsItsOwnPercentile) {
  EXPECT_EQ(Of({~Ticks{0}}).Percentile(1), ~Ticks{0});
  EXPECT_LE(Of({5, ~Ticks{0} - 1}).Percentile(0.99), ~Ticks{0} - 1);
  EXPECT_GE(Of({5, ~Ticks{0} - 1}).Percentile(0.99), ~Ticks{0} / 2);
}

TEST(HistogramTest, PercentilesOfOneDurationStayInItsBucketAndBelowIt) {
  const HistogramCounts counts = Of({1000});
  EXPECT_EQ(counts.Percentile(0.99), 1000U);
  EXPECT_EQ(counts.Percentile(1.0), 1000U);
  EXPECT_LE(counts.Percentile(0.5), 1000U);
  EXPECT_GE(counts.Percentile(0.5), BucketStart(BucketOf(1000)));
}

TEST(HistogramTest, ADurationOfZeroIsCounted) {
  const HistogramCounts counts = Of({0, 0, 0});
  EXPECT_EQ(counts.total, 3U);
  EXPECT_EQ(counts.max, 0U);
  EXPECT_EQ(counts.Percentile(0.5), 0U);
}

TEST(HistogramTest, PercentilesOfAnEvenSpreadAreRightToABucket) {
  Histogram histogram;
  for (Ticks duration = 1; duration <= 100'000; ++duration) histogram.Record(duration);
  const HistogramCounts counts = histogram.Copy();
  for (const double fraction : {0.1, 0.25, 0.5, 0.9, 0.99}) {
    const double exact = fraction * 100'000;
    EXPECT_NEAR(static_cast<double>(counts.Percentile(fraction)), exact, exact * 0.02) << fraction;
  }
}

TEST(HistogramTest, TheMedianIsOfTheManyAndP99OfTheFew) {
  Histogram histogram;
  for (int i = 0; i < 97; ++i) histogram.Record(1'000);
  for (int i = 0; i < 3; ++i) histogram.Record(1'000'000);
  const HistogramCounts counts = histogram.Copy();
  EXPECT_EQ(BucketOf(counts.Percentile(0.5)), BucketOf(1'000));
  EXPECT_LE(counts.Percentile(0.97), BucketStart(BucketOf(1'000) + 1));
  EXPECT_EQ(BucketOf(counts.Percentile(0.99)), BucketOf(1'000'000));
  EXPECT_EQ(counts.max, 1'000'000U);
}

TEST(HistogramTest, WhatIsBeyondTheLastBorderIsToldByTheMaximum) {
  const Ticks long_time = Ticks{1} << 60;
  EXPECT_EQ(Of({long_time}).Percentile(1.0), long_time);
  EXPECT_LE(Of({long_time, 300}).Percentile(0.99), long_time);
}

// ---- counts ----

TEST(HistogramTest, MergingAddsCountsAndKeepsTheLargerMaximum) {
  HistogramCounts sum = Of({300, 5'000});
  sum.Merge(Of({300, 700}));
  EXPECT_EQ(sum.total, 4U);
  EXPECT_EQ(sum.counts.at(BucketOf(300)), 2U);
  EXPECT_EQ(sum.counts.at(BucketOf(700)), 1U);
  EXPECT_EQ(sum.counts.at(BucketOf(5'000)), 1U);
  EXPECT_EQ(sum.max, 5'000U);
}

TEST(HistogramTest, ClearingLeavesNothing) {
  Histogram histogram;
  histogram.Record(1'000);
  histogram.Clear();
  const HistogramCounts counts = histogram.Copy();
  EXPECT_EQ(counts.total, 0U);
  EXPECT_EQ(counts.max, 0U);
}

}  // namespace
}  // namespace lockscope::ledger
