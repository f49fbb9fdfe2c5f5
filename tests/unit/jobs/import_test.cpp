#include "jobs/import.hpp"

#include <gtest/gtest.h>

#include "jobs/sheet.hpp"
#include "jobs/status.hpp"
#include "unit/jobs/made_jobs.hpp"
#include "unit/report/texts.hpp"

using namespace dissent::jobs;
using dissent::ErrorKind;
using dissent::jobs::testing::jobs_of;
using dissent::testing::error_of;

TEST(Import, TrainingKeepsConfigurationAndSwitch) {
  const auto imported = import_text(
      "training.csv",
      "path_to_main,path_to_default_config,whether_to_run,status,walltime\n./diverse_universe/"
      "train/main.py,./configs/training/OOD_gen.yaml,0,Completed,0:47:16\n"
      "./diverse_universe/train/main.py,./configs/training/50_models.yaml,1,,\n");
  EXPECT_EQ(imported.text,
            "name,verb,config,whether_to_run\nood_gen,train,configs/sed/"
            "ood_gen.toml,0\n50_models,train,configs/sed/50_models.toml,1\n");
  EXPECT_EQ(imported.notes.size(), 2U);  // status, walltime
}

// As spreadsheets leave a sheet: a mark before it, an empty line; and two rows of one
// configuration.
TEST(Import, WhatASpreadsheetLeavesChangesNothing) {
  const auto imported = import_text(
      "training.csv",
      "\xEF\xBB\xBFpath_to_main,path_to_default_config,whether_to_run,delta:params/random_seed\n"
      "m.py,./configs/training/OOD_gen.yaml,1,1\n,,,\nm.py,./configs/training/OOD_gen.yaml,1,2\n");
  EXPECT_EQ(imported.text,
            "name,verb,config,whether_to_run,set:seeds\n"
            "ood_gen,train,configs/sed/ood_gen.toml,1,[1]\n"
            "ood_gen-2,train,configs/sed/ood_gen.toml,1,[2]\n");
  EXPECT_TRUE(imported.notes.empty());
}

TEST(Import, MisspeltColumnsAndASheetThatRunsNothingAreNamed) {
  const auto with = [](const std::string& column) {
    return error_of(ErrorKind::kData, [&] {
      import_text("t.csv", "path_to_main,path_to_default_config," + column + "\nm.py,a.yaml,1\n");
    });
  };
  EXPECT_EQ(with("whether_to_runn"),
            "t.csv: column 'whether_to_runn': did you mean 'whether_to_run'?");
  EXPECT_EQ(with("delt:params/random_seed"),
            "t.csv: column 'delt:params/random_seed': expected delta:path/of/the/key");
  const auto off = import_text(
      "t.csv", "path_to_main,path_to_default_config,whether_to_run\nm.py,./x/OOD_gen.yaml,0\n");
  ASSERT_EQ(off.notes.size(), 1U);
  EXPECT_CONTAINS(off.notes[0], "t.csv: whether_to_run is 0 in every row");
}

TEST(Import, CachingTranslatesItsDeltas) {
  const auto imported = import_text(
      "caching.csv",
      "path_to_main,path_to_default_config,whether_to_run,delta:kwargs/model,delta:kwargs/"
      "layer_cutoff,delta:kwargs/original_dataset_name,delta:kwargs/original_dataset_path,"
      "delta:kwargs/cache_save_path,delta:kwargs/model_path,delta:kwargs/n_epochs\n"
      "__RUNNER__,./configs/caching/caching.yaml,1,deit3b,-1,in_train,./data/ImageNet2012,./data/"
      "cached/in_train_4_epochs.hdf5,./models/deit3.pth,4\n");
  const auto sheet = parse_sheet("s.csv", imported.text);
  const auto& row = sheet.rows.at(0);
  EXPECT_EQ(row.name, "cache-in_train");
  EXPECT_EQ(row.cell("verb"), "cache");
  EXPECT_EQ(row.cell("set:trunk.model"), "deit3_base_patch16_224");
  EXPECT_EQ(row.cell("set:trunk.cut"), "cls_after_last_attention");
  EXPECT_EQ(row.cell("config"), "configs/sed/caching_in_train.toml");
  EXPECT_EQ(row.cell("set:data.root"), "data/ImageNet2012");
  EXPECT_EQ(row.cell("set:trunk.weights"), "models/deit3.pth");
  EXPECT_EQ(row.cell("set:cache.output"), "data/cached/in_train_4_epochs.cache");
  EXPECT_EQ(row.cell("set:cache.passes"), "4");
  EXPECT_TRUE(imported.notes.empty());
}

TEST(Import, TheRowOfCorruptionsStandsForThirtySets) {
  const std::string head =
      "path_to_main,path_to_default_config,whether_to_run,delta:kwargs/original_dataset_name,delta:"
      "kwargs/original_dataset_path,delta:kwargs/cache_save_path\n";
  const auto imported = import_text(
      "caching.csv", head +
                         "r,./configs/caching/caching.yaml,0,in_c,./data/imagenet-c,./data/cached\n"
                         "r,./configs/caching/caching.yaml,1,in_a,./data/sets/,./data/a.hdf5\n");
  const auto sheet = parse_sheet("s.csv", imported.text);
  ASSERT_EQ(sheet.rows.size(), 31U);
  EXPECT_EQ(sheet.rows[1].name, "cache-gaussian_noise-5");
  EXPECT_EQ(sheet.rows[1].cell("config"), "configs/sed/caching_in_c.toml");
  EXPECT_EQ(sheet.rows[1].cell("set:data.root"), "data/imagenet-c");
  EXPECT_EQ(sheet.rows[1].cell("set:variables.corruption"), "gaussian_noise");
  EXPECT_EQ(sheet.rows[1].cell("set:variables.severity"), "5");
  EXPECT_EQ(sheet.rows[1].cell("set:variables.cached"), "data/cached");
  EXPECT_EQ(sheet.rows[1].cell("whether_to_run"), "0");
  EXPECT_EQ(sheet.rows[30].cell("set:data.root"), "data/sets/imagenet-a");
  EXPECT_ERROR_ALL(import_text("c.csv", head + "r,c/caching.yaml,1,in_x,d,o\n"),
                   "c.csv:2: delta:kwargs/original_dataset_name: expected one of in_val, in_train",
                   "found \"in_x\"");
}

TEST(Import, OneEvaluationComputesBothTables) {
  const std::string head =
      "path_to_main,path_to_default_config,whether_to_run,delta:results_save_path,delta:eval_"
      "type\n";
  const auto imported =
      import_text("evaluation.csv", head +
                                        "main.py,./configs/eval/eval.yaml,0,./r.pkl,ood_gen\n"
                                        "main.py,./configs/eval/eval.yaml,1,./r.pkl,ood_det\n");
  const auto sheet = parse_sheet("s.csv", imported.text);
  ASSERT_EQ(sheet.rows.size(), 5U);
  EXPECT_EQ(sheet.rows[0].cell("config"), "configs/sed/evaluation.toml");
  EXPECT_EQ(sheet.rows[0].cell("whether_to_run"), "1");  // of one of the two
  EXPECT_EQ(sheet.rows[1].name, "table-ood_gen");
  EXPECT_EQ(sheet.rows[1].cell("whether_to_run"), "0");
  EXPECT_EQ(sheet.rows[3].cell("verb"), "tables");
  EXPECT_EQ(sheet.rows[3].cell("after"), "evaluate");
  EXPECT_EQ(sheet.rows[3].cell("arguments"),
            "[\"--layout\", \"sed_detection\", \"--published\", \"results/published/sed.csv\", "
            "\"--output\", \"results/sed/detection.md\", \"results/sed\"]");
  EXPECT_EQ(sheet.rows[4].name, "table-ood_det_df");
  EXPECT_EQ(sheet.rows[4].cell("arguments"),
            "[\"--layout\", \"sed_released_detection\", \"--output\", "
            "\"results/sed/ood_det_df.csv\", \"results/sed\"]");
  EXPECT_EQ(imported.notes.size(), 2U);
  EXPECT_ERROR_ALL(import_text("e.csv", head + "m,c/eval.yaml,1,r,ood_x\n"),
                   "expected one of ood_gen, ood_det, found \"ood_x\"");
}

TEST(Import, DeltasOfTrainingAreKeysOfOurs) {
  const auto imported = import_text(
      "t.csv",
      "path_to_main,path_to_default_config,whether_to_run,delta:params/train/n_epochs,delta:params/"
      "random_seed,delta:data/dataset/from_h5/path/train\nm,c/OOD_gen.yaml,1,3,7,./d/x.hdf5\n");
  const auto row = parse_sheet("s.csv", imported.text).rows[0];
  EXPECT_EQ(row.cell("set:training.epochs"), "3");
  EXPECT_EQ(row.cell("set:seeds"), "[7]");
  EXPECT_EQ(row.cell("set:data.train"), "d/x.hdf5");
  EXPECT_TRUE(imported.notes.empty());
}

TEST(Import, WhatHasNoCounterpartIsKeptAsTextAndNamed) {
  const auto imported = import_text("t.csv",
                                    "path_to_main,path_to_default_config,whether_to_run,delta:"
                                    "params/x,delta:y\nm,c/OOD_gen.yaml,1,a__COMMA__b,Default\n");
  EXPECT_EQ(parse_sheet("s.csv", imported.text).rows[0].cell("delta params/x"), "a,b");
  ASSERT_EQ(imported.notes.size(), 1U);
  EXPECT_NE(imported.notes[0].find("delta:params/x = a,b has no corresponding key"),
            std::string::npos);
  EXPECT_ERROR_ALL(import_text("t.csv", "a,b\n1,2\n"), "expected a sheet of stuned.run_from_csv");
}

TEST(StatusCsv, TheSheetComesBackWithWhatIsTrueAndMayBeUsedAgain) {
  const std::string text =
      "verb,config,set:s,after,status,note\ntrain,x.toml,{1 | "
      "2},,old,{{n}}\nevaluate,e.toml,,train-x,old,\n";
  const auto sheet = parse_sheet("s.csv", text);
  const auto jobs = jobs_of(text);
  std::vector<Status> statuses(3);
  statuses[0].phase = Phase::kFailed, statuses[0].detail = "exit code 3: {x}, \"y\"\nz";
  statuses[1].phase = Phase::kDone, statuses[1].wall_s = 12.5,
  statuses[1].progress.last = {{"total", "0.5"}, {"epoch", "3"}};
  const auto written = status_csv(sheet, jobs, statuses);
  const auto again = parse_sheet("t.csv", written);
  EXPECT_EQ(again.rows[0].name, "train-x-1");
  EXPECT_EQ(again.rows[0].cell("detail"), statuses[0].detail);
  EXPECT_EQ(again.rows[0].cell("note"), "{n}");
  EXPECT_EQ(again.rows[1].cell("status"), "done");
  EXPECT_EQ(again.rows[1].cell("walltime_s"), "12.5");
  EXPECT_EQ(again.rows[1].cell("last:total"), "0.5");
  EXPECT_EQ(again.rows[1].cell("run_folder"), jobs[1].resolution.runs[0]);
  const auto jobs_again = make_jobs(again, dissent::jobs::testing::resolve_text);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(jobs_again[i].key, jobs[i].key);
  EXPECT_EQ(jobs_again[2].after, jobs[2].after);
}
