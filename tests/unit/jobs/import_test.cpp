#include "jobs/import.hpp"

#include <gtest/gtest.h>

#include "jobs/sheet.hpp"
#include "jobs/status.hpp"
#include "unit/jobs/made_jobs.hpp"

using namespace dissent::jobs;
using dissent::jobs::testing::jobs_of;

TEST(Import, TrainingKeepsConfigurationAndSwitch) {
  const auto imported = import_text(
      "training.csv",
      "path_to_main,path_to_default_config,whether_to_run,status,walltime\n./diverse_universe/"
      "train/main.py,./configs/training/OOD_gen.yaml,0,Completed,0:47:16\n"
      "./diverse_universe/train/main.py,./configs/training/50_models.yaml,1,,\n");
  EXPECT_EQ(imported.text,
            "name,verb,config,enabled\nood_gen,train,configs/sed/"
            "ood_gen.toml,0\n50_models,train,configs/sed/50_models.toml,1\n");
  EXPECT_EQ(imported.notes.size(), 2U);  // status, walltime
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
  EXPECT_EQ(row.cell("set:data.dataset"), "imagenet");
  EXPECT_EQ(row.cell("set:data.split"), "train");
  EXPECT_EQ(row.cell("set:cache.output"), "data/cached/in_train_4_epochs.cache");
  EXPECT_EQ(row.cell("set:cache.passes"), "4");
  EXPECT_TRUE(imported.notes.empty());
}

TEST(Import, EvaluationChoosesItsConfigurationByType) {
  const auto imported =
      import_text("evaluation.csv",
                  "path_to_main,path_to_default_config,whether_to_run,delta:results_save_path,"
                  "delta:eval_type\nmain.py,./configs/eval/eval.yaml,1,./r.pkl,ood_det\n");
  const auto sheet = parse_sheet("s.csv", imported.text);
  EXPECT_EQ(sheet.rows[0].cell("config"), "jobs/sed/evaluate_ood_det.toml");
  EXPECT_EQ(sheet.rows[0].name, "evaluate-ood_det");
}

TEST(Import, WhatHasNoCounterpartIsKeptAsTextAndNamed) {
  const auto imported = import_text("t.csv",
                                    "path_to_main,path_to_default_config,whether_to_run,delta:"
                                    "params/x,delta:y\nm,c/OOD_gen.yaml,1,a__COMMA__b,Default\n");
  EXPECT_EQ(parse_sheet("s.csv", imported.text).rows[0].cell("delta params/x"), "a,b");
  ASSERT_EQ(imported.notes.size(), 1U);
  EXPECT_NE(imported.notes[0].find("delta:params/x = a,b has no counterpart"), std::string::npos);
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
